# The server reads the request, and its handler never answers; it goes on to wait for clients.
import os, socket, threading, time
server = socket.create_server(("127.0.0.1", 0))
def handle(connection):
    connection.recv(100)
    threading.Event().wait()
def serve():
    while True:
        connection, _ = server.accept()
        threading.Thread(target=handle, args=(connection,)).start()
if os.fork() == 0:
    serve()
client = socket.create_connection(server.getsockname())
client.sendall(b"hello?\n")
open("blocking", "w").close()
client.recv(1024)
