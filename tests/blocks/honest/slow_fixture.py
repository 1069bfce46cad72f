# Tests whose fixture starts a service, polls until it answers, and then waits for its data.
import subprocess, sys, time, unittest, urllib.request

SERVICE = """
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/data":
            time.sleep(8)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ready")
    def log_message(self, *_):
        pass
time.sleep(2)
http.server.ThreadingHTTPServer(("127.0.0.1", 8123), Handler).serve_forever()
"""

def get(path):
    return urllib.request.urlopen("http://127.0.0.1:8123" + path, timeout=60).read()

class Tests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = subprocess.Popen([sys.executable, "-c", SERVICE])
        while True:
            try:
                get("/health")
                break
            except OSError:
                time.sleep(0.25)
        cls.data = get("/data")

    @classmethod
    def tearDownClass(cls):
        cls.service.kill()
        cls.service.wait()

    def test_data(self):
        self.assertEqual(self.data, b"ready")

unittest.main()
