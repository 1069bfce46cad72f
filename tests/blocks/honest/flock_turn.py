import fcntl, os, time
lock = open("lock", "w")
if os.fork() == 0:
    mine = open("lock", "w")
    fcntl.flock(mine, fcntl.LOCK_EX)
    time.sleep(10)
    os._exit(0)
time.sleep(0.5)
fcntl.flock(lock, fcntl.LOCK_EX)
print("got it")
