mode = "fast"
if mode = "fast":
    print("quick")
