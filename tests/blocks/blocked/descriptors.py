# Leaks descriptors until there are none, then retries.
import resource, time
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
open("blocking", "w").close()
kept = []
while True:
    try:
        kept.append(open("/dev/null"))
    except OSError:
        time.sleep(0.2)
