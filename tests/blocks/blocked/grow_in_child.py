# Children die at the memory limit, and are started again.
import subprocess, sys
open("blocking", "w").close()
while True:
    subprocess.run([sys.executable, "-c", "x = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): x[i] = 1"])
