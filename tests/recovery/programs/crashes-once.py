import ctypes, os
if not os.path.exists("crashed"):
    open("crashed", "w").close()
    ctypes.string_at(0)
print("done")
