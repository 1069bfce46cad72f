# Watches a folder through the kernel.
import ctypes, os
libc = ctypes.CDLL(None)
watch = libc.inotify_init1(0)
libc.inotify_add_watch(watch, b".", 0x100)
os.read(watch, 4096)
