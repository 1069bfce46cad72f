open("blocking", "w").close()
done = False
while not done:
    pass
