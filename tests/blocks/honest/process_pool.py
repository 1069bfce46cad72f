import multiprocessing
def work(n):
    return sum(i * i % 7 for i in range(4000000 + n))
if __name__ == "__main__":
    with multiprocessing.Pool(3) as pool:
        print(sum(pool.map(work, range(24))))
