import threading
condition = threading.Condition()
with condition:
    for _ in range(5):
        condition.wait(timeout=4)
