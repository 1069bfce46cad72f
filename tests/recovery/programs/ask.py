answer = input("Go on? [y/n] ")
if answer.strip() != "y":
    raise SystemExit("no")
print("went on")
