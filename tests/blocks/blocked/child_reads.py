# The child reads to an end of file that the parent, who waits for it, never makes.
import subprocess
child = subprocess.Popen(["sort"], stdin=subprocess.PIPE)
child.stdin.write(b"b\na\n")
child.stdin.flush()
open("blocking", "w").close()
child.wait()
