# Waits for a child whose pipe is full.
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "print('x' * 1000000)"], stdout=subprocess.PIPE)
open("blocking", "w").close()
child.wait()
