# Two locks in two orders: with one worker it is fine, with more each has what the other wants.
import os, threading
one, two = threading.Lock(), threading.Lock()
workers = min(2, len(os.sched_getaffinity(0)))
meet = threading.Barrier(workers)
jobs = [(one, two), (two, one)]
def work(mine):
    for first, second in mine:
        with first:
            meet.wait()
            with second:
                print("done")
threads = [threading.Thread(target=work, args=(jobs[i::workers],)) for i in range(workers)]
for thread in threads: thread.start()
for thread in threads: thread.join()
