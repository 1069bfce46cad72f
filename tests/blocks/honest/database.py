# As databases do: a process that accepts, one for each client, a writer that wakes now and then,
# and a client that keeps its connection open and thinks between its questions.
import os, queue, socket, threading, time

path = "database.sock"
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()

def backend(connection):
    log = queue.Queue()
    def writer():
        while True:
            try:
                item = log.get(timeout=5)
            except queue.Empty:
                continue
            if item is None:
                return
    thread = threading.Thread(target=writer)
    thread.start()
    while True:
        question = connection.recv(1024)
        if not question:
            break
        log.put(question)
        connection.sendall(b"answer to " + question)
    log.put(None)
    thread.join()

server = os.fork()
if server == 0:
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            backend(connection)
            os._exit(0)

listener.close()
client = socket.socket(socket.AF_UNIX)
client.connect(path)
for question in (b"one", b"two", b"three"):
    client.sendall(question)
    assert client.recv(1024) == b"answer to " + question
    time.sleep(6)
client.close()
os.kill(server, 9)
os.waitpid(server, 0)
