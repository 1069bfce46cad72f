values = [1, 2, 3]
print(sum(value * 2 for value in values)
print("done")
