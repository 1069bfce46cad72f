names = []
for name in ["b", "a"]:
    names.apend(name.upper())
print(sorted(names))
