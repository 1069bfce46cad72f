# An agent and its tool server: requests over the server's standard input, answers over its output,
# and long thoughts in between.
import subprocess, sys, time

TOOL = """
import sys
for line in sys.stdin:
    print("did " + line.strip(), flush=True)
"""
tool = subprocess.Popen([sys.executable, "-c", TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
for step in range(3):
    tool.stdin.write(b"step\n")
    tool.stdin.flush()
    assert tool.stdout.readline() == b"did step\n"
    time.sleep(6)
tool.stdin.close()
tool.wait()
