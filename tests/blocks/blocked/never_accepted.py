# A server that listens and never accepts; its client waits for an answer.
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
client.sendall(b"GET / HTTP/1.0\r\n\r\n")
open("blocking", "w").close()
client.recv(1024)
