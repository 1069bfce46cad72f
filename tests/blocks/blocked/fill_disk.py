import os, time
open("blocking", "w").close()
with open("/tmp/fill", "wb") as file:
    while True:
        try:
            file.write(b"x" * (1 << 20))
            file.flush()
        except OSError:
            time.sleep(0.5)
