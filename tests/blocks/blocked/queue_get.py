import queue, threading
jobs = queue.Queue()
def worker():
    while True:
        jobs.get()          # never marks a job as done
for _ in range(4): threading.Thread(target=worker, daemon=True).start()
jobs.put(1)
open("blocking", "w").close()
jobs.join()
