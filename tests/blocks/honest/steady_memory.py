# Needs most of its memory, and no more.
import time
kept = bytearray(100 << 20)
for i in range(0, len(kept), 4096):
    kept[i] = 1
end = time.monotonic() + 18
total = 0
while time.monotonic() < end:
    for i in range(0, len(kept), 4096):
        total += kept[i]
print(total)
