import threading, time
stop = threading.Event()
open("blocking", "w").close()
while True:
    try:
        threading.Thread(target=stop.wait).start()
    except RuntimeError:
        time.sleep(1)
