# Touches so many MiB and says so.
import sys
block = bytearray(int(sys.argv[1]) << 20)
for at in range(0, len(block), 4096):
    block[at] = 1
print("had", len(block) >> 20)
