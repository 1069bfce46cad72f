# A pool of workers that wait for jobs, while the one who gives them out waits for the time to do so.
import multiprocessing, time

def work(jobs, results):
    for job in iter(jobs.get, None):
        results.put(job * job)

if __name__ == "__main__":
    jobs, results = multiprocessing.Queue(), multiprocessing.Queue()
    workers = [multiprocessing.Process(target=work, args=(jobs, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for round in range(3):
        for job in range(6):
            jobs.put(job)
        assert sorted(results.get() for _ in range(6)) == [0, 1, 4, 9, 16, 25]
        time.sleep(5)
    for worker in workers:
        jobs.put(None)
    for worker in workers:
        worker.join()
