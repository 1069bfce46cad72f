# Touches so many MiB and says so.
import sys
blocks = []
for _ in range(0, int(sys.argv[1]), 10):
    blocks.append(bytearray(b"x" * (10 << 20)))
print("had", 10 * len(blocks))
