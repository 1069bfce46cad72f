# A pool with a worker for each processor that it may use, each with so many MiB.
import multiprocessing, os, sys, time
def work(_):
    block = bytearray(int(sys.argv[1]) << 20)
    for at in range(0, len(block), 4096):
        block[at] = 1
    time.sleep(1)
    return len(block)
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0))) as pool:
        results = pool.map_async(work, range(4), chunksize=1).get(15)
    print(sum(results) >> 20)
