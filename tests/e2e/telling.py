# SPDX-License-Identifier: MIT
"""What --events has told so far."""
import json


def events_in(path):
    """
    All of the file is taken at once: going on behind a line that is being written, as iterating does, would
    come upon the rest of it.
    """
    with open(path) as file:
        return [json.loads(line) for line in file.read().split("\n")[:-1]]
