import subprocess, sys
child = subprocess.run([sys.executable, "-c", "import time; time.sleep(12); print('x' * 1000000)"],
                       capture_output=True)
print(len(child.stdout))
