def compute(x):
    open("blocking", "w").close()
    breakpoint()
    return x + 1
print(compute(41))
