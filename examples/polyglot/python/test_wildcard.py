"""The cases that all languages of this project share."""

import pathlib
import unittest

from wildcard import matches

CASES = pathlib.Path(__file__).parent.parent / "cases.tsv"


class SharedCases(unittest.TestCase):
    def test_shared_cases(self):
        lines = CASES.read_text(encoding="utf-8").split("\n")
        cases = [line.split("\t") for line in lines if line and not line.startswith("#")]
        self.assertGreater(len(cases), 40)
        for pattern, text, answer in cases:
            with self.subTest(pattern=pattern, text=text):
                self.assertEqual(matches(pattern, text), answer == "yes")


if __name__ == "__main__":
    unittest.main()
