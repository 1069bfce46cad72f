# A silent computation.
import sys, time
end = time.monotonic() + float(sys.argv[1])
x = 1
while time.monotonic() < end:
    for _ in range(200000):
        x = (x * 6364136223846793005 + 1442695040888963407) % (1 << 64)
print(x)
