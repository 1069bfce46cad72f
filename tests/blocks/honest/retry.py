# Tries again with growing pauses, as clients do.
import socket, time
for attempt in range(6):
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=2)
    except OSError:
        time.sleep(min(2 ** attempt, 6))
