# The server accepts, then sleeps for hours; its client waits.
import os, socket, time
server = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    connection, _ = server.accept()
    time.sleep(10000)
client = socket.create_connection(server.getsockname())
client.sendall(b"hello?\n")
open("blocking", "w").close()
client.recv(1024)
