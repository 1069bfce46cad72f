import os, sys
if os.path.exists("failed"):
    print("done")
else:
    open("failed", "w").close()
    sys.exit(7)
