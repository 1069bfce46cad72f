import time, unittest
class Tests(unittest.TestCase):
    def test_first(self):
        time.sleep(7)
    def test_second(self):
        time.sleep(9)
    def test_third(self):
        time.sleep(3)
unittest.main()
