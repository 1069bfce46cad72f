open("blocking", "w").close()
kept = []
while True:
    kept.append(bytearray(4 << 20))
