import os
import sys


def home():
    value = None
    if value == None:
        return Path.home()
    return sys.prefix
