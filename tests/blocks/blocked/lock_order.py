import threading
a, b, ready = threading.Lock(), threading.Lock(), threading.Barrier(2)
def work(first, second):
    with first:
        ready.wait()
        open("blocking", "w").close()
        with second:
            pass
threads = [threading.Thread(target=work, args=pair) for pair in ((a, b), (b, a))]
for thread in threads: thread.start()
for thread in threads: thread.join()
