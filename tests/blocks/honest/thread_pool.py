import concurrent.futures, time
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    for result in pool.map(lambda n: time.sleep(n) or n, [8, 2, 12, 5]):
        print(result)
