# SPDX-License-Identifier: MIT
"""A pipe that takes its time: what comes on stdin goes to stdout after a while.

relay-pipe.py SECONDS
"""
import os
import sys
import time

try:
    while data := os.read(0, 1 << 16):
        time.sleep(float(sys.argv[1]))
        while data:
            data = data[os.write(1, data):]
except BrokenPipeError:
    pass
