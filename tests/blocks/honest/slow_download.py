# A download that takes its time.
import socket, threading, time
server = socket.create_server(("127.0.0.1", 0))
def serve():
    connection, _ = server.accept()
    for _ in range(10):
        connection.sendall(b"x" * 10000)
        time.sleep(2)
    connection.close()
threading.Thread(target=serve).start()
client = socket.create_connection(server.getsockname())
total = 0
while piece := client.recv(65536):
    total += len(piece)
print(total)
