class Counter:
    def __init__(self):
        self.value = 0

    def increase():
        self.value += 1


counter = Counter()
counter.increase()
print(counter.value)
