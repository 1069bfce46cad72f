open("blocking", "w").close()
name = input("Name: ")
print("hello", name)
