# Reads what it remembers, or finds it out anew.
import json, os, sys
place = os.environ[sys.argv[1]]
path = os.path.join(place, "index.json")
try:
    with open(path) as file:
        print(json.load(file)["answer"])
except FileNotFoundError:
    os.makedirs(place, exist_ok=True)
    with open(path, "w") as file:
        json.dump({"answer": 42}, file)
    print("found out anew")
