# A server that thinks for a while before it answers.
import os, socket, time
server = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    connection, _ = server.accept()
    time.sleep(15)
    connection.recv(100)
    connection.sendall(b"hello")
    os._exit(0)
client = socket.create_connection(server.getsockname())
client.sendall(b"hello?")
print(client.recv(100))
