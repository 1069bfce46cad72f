import multiprocessing, time
def work(queue):
    queue.get()
if __name__ == "__main__":
    queue = multiprocessing.Queue()
    child = multiprocessing.Process(target=work, args=(queue,))
    child.start()
    time.sleep(0.3)
    open("blocking", "w").close()
    child.join()
