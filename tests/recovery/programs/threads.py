# Many threads for each processor that it may use.
import os, threading
done = threading.Event()
threads = [threading.Thread(target=done.wait) for _ in range(10 * len(os.sched_getaffinity(0)))]
try:
    for thread in threads:
        thread.start()
finally:
    done.set()
print("had", len(threads))
