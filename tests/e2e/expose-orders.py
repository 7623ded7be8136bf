# SPDX-License-Identifier: MIT
"""Cases of expose-orders.sh: every order of ends and resets, on every way back.

expose-orders.py NETNS NAME=HOST,EXPOSED,PORT[,NETNS]...

In NETNS clients connect to HOST:EXPOSED, which leads to PORT of 127.0.0.1 here, or in the other NETNS.
"""
import sys

from orders import IN_ORDER, RESETS
from relaying import Expose, run

netns = sys.argv[1]
ways = []
for arg in sys.argv[2:]:
    way, _, where = arg.partition("=")
    ways.append(Expose(way, netns, *where.split(",")))
run([("%s: %s" % (way.name, name), function, way, *args)
     for way in ways for name, function, *args in IN_ORDER + RESETS], workers=12)
