# SPDX-License-Identifier: MIT
"""Cases of relay-cut.sh: links that are cut, and processes that are killed, in mid-stream. The far side
gets a reset, and nothing that is not whole looks whole.

relay-cut.py NETNS GUEST-ENDPOINT VICTIM-ENDPOINT VICTIM-PID VICTIM-LOCAL:PORT LISTEN-LOCAL:PORT LISTEN-PID
        [MIDDLE-SOCKET LOCAL:PORT EXEC-ENDPOINT]

VICTIM is a guest to be killed, with a forward over it; LISTEN is a forward whose `vzfwd listen` is to be killed.
MIDDLE is made here; a `vzfwd listen` forwards LOCAL over it to PORT.
"""
import os
import signal
import socket
import sys
import tempfile
import threading

from dialing import Dial, read_all
from relaying import (Listen, Middle, StreamFd, Way, cut, expect, expect_bytes, expect_gone,
                      in_background, is_alive, pattern, put, read_to_end, run, unread, wait_for)

HEAD = 4           # of a record
HELLO = HEAD + 1   # the record with the byte that Way.open() sends each way
DATA = pattern(1000)
FILE = pattern(20 << 20, 1)
middle_lock = threading.Lock()


def through(middle, open_way, to_host=None, to_guest=None):
    """Opens a connection whose link will be cut after so many bytes; returns it and its link."""
    with middle_lock:
        middle.to_host, middle.to_guest = to_host, to_guest
        return open_way(), middle.link


def cut_down(middle, way, size, left, ended):
    """What the server sent is cut after `size` bytes of records; `left` bytes of payload are in them."""
    (client, server), _ = through(middle, way.open, to_host=HELLO + size)
    send(server, DATA, ended)
    expect(client, DATA[:left], "reset")
    expect_gone(server)


def cut_up(middle, way, size, left, ended):
    (client, server), _ = through(middle, way.open, to_guest=HELLO + size)
    send(client, DATA, ended)
    expect(server, DATA[:left], "reset")
    expect_gone(client)


def send(sock, data, ended):
    sock.sendall(data)
    if ended:
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the reset was faster


def cut_idle(middle, way):
    (client, server), link = through(middle, way.open)
    cut(*link)
    expect(client, b"", "reset")
    expect(server, b"", "reset")


def cut_half_closed(middle, way):
    (client, server), link = through(middle, way.open)
    client.shutdown(socket.SHUT_WR)
    expect(server, b"", "eof")
    cut(*link)
    expect(client, b"", "reset")
    expect_gone(server)


def dial_cut(middle, way, size, left, ended):
    def start():
        dial = Dial(*way.args, ":" + way.port)
        return dial, way.accept()

    (dial, server), link = through(middle, start, to_host=size)
    dial.connected()
    if size is None:
        cut(*link)
    else:
        send(server, DATA, ended)
    assert read_all(dial.output) == DATA[:left]
    lines = dial.ends(74)
    assert lines[0].endswith(": the link was cut"), lines
    dial.closed("cut", left, 0)
    expect_gone(server)


# A guest that is killed; everything that goes through it at once

def fetch(endpoint, netns, kill):
    """A file that is being fetched when the guest is killed is not taken for whole."""
    way = Way("fetch", netns, 0)
    with tempfile.TemporaryFile() as file:
        dial = Dial(endpoint, ":" + way.port, stdout=file)
        server = way.accept()
        dial.connected()
        in_background(server.sendall, FILE[:10 << 20])
        wait_for(lambda: os.fstat(file.fileno()).st_size > 1 << 20, "a part of the file")
        kill(dial)
        dial.ends(74)
        dial.closed("cut", os.fstat(file.fileno()).st_size)
        file.seek(0)
        got = file.read()
        assert len(got) < len(FILE) and FILE.startswith(got), "%d bytes" % len(got)
        expect_gone(server)


def guest_killed(netns, victim, pid, forward):
    listen = Listen("victim", netns, *forward.split(":"))
    idle, streaming, half_closed = listen.open(), listen.open(), listen.open()
    half_closed[0].shutdown(socket.SHUT_WR)
    expect(half_closed[1], b"", "eof")
    in_background(streaming[1].sendall, FILE)
    expect_bytes(streaming[0], FILE[:1 << 20])

    def kill(_):
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not is_alive(pid), "the guest's death")

    fetch(victim, netns, kill)
    got, end = read_to_end(streaming[0])
    assert end == "reset" and FILE[1 << 20:].startswith(got), (end, len(got))
    for client, server in idle, half_closed:
        expect(client, b"", "reset")
        expect_gone(server)
    # Its forward is still there, and says that there is nobody behind it.
    with socket.create_connection(("127.0.0.1", listen.local)) as client:
        client.settimeout(30)
        expect(client, b"", "reset")


def exec_killed(netns, endpoint):
    def kill(dial):
        with open("/proc/%d/task/%d/children" % (dial.pid, dial.pid)) as children:
            os.kill(int(children.read().split()[0]), signal.SIGKILL)

    fetch(endpoint, netns, kill)


# A host's process that is killed

def dial_killed(netns, endpoint):
    way = Way("upload", netns, 0)
    dial = Dial(endpoint, ":" + way.port)
    server = way.accept()
    dial.connected()
    os.write(dial.input, DATA)
    wait_for(lambda: unread(server) == len(DATA), "bytes for the target")
    dial.process.kill()
    expect(server, DATA, "reset")


def listen_killed(netns, forward, pid):
    listen = Listen("killed", netns, *forward.split(":"))
    client, server = listen.open()
    put(client, DATA)
    wait_for(lambda: unread(server) == len(DATA), "bytes for the target")
    half_closed = listen.open()
    half_closed[0].shutdown(socket.SHUT_WR)
    expect(half_closed[1], b"", "eof")
    os.kill(pid, signal.SIGKILL)
    expect(server, DATA, "reset")
    expect_gone(half_closed[1])
    expect(client, b"", "reset")
    expect(half_closed[0], b"", "reset")


def cut_cases(netns, guest, middle_path, forward, exec_endpoint):
    middle = Middle(middle_path, guest[len("unix://"):])
    listen = Listen("listen", netns, *forward.split(":"))
    stream_fd = StreamFd("dial --stream-fd", netns, "unix://" + middle_path)
    places = [
        ("in a header", 2, 0, False),
        ("behind a header", HEAD, 0, False),
        ("in a payload", HEAD + 100, 100, False),
        ("behind a record", HEAD + len(DATA), len(DATA), False),
        ("just before EOF", HEAD + len(DATA), len(DATA), True),
        ("within EOF", HEAD + len(DATA) + 3, len(DATA), True),
    ]
    cases = []
    for way in listen, stream_fd:
        cases += [("%s: cut %s, idle" % (way.name, "half-closed" if function is cut_half_closed else "open"),
                   function, middle, way) for function in (cut_idle, cut_half_closed)]
        for name, *place in places:
            cases.append(("%s: down, cut %s" % (way.name, name), cut_down, middle, way, *place))
            cases.append(("%s: up, cut %s" % (way.name, name), cut_up, middle, way, *place))
    cases += [("dial: cut " + name, dial_cut, middle, stream_fd, *place) for name, *place in places]
    return cases + [
        ("dial: cut when idle", dial_cut, middle, stream_fd, None, 0, False),
        ("an exec: guest is killed", exec_killed, netns, exec_endpoint),
    ]


def main():
    netns, guest, victim, victim_pid, victim_forward, listen_forward, listen_pid, *cut_args = sys.argv[1:]
    cases = cut_cases(netns, guest, *cut_args) if cut_args else []
    run(cases + [
        ("the guest is killed", guest_killed, netns, victim, int(victim_pid), victim_forward),
        ("dial is killed", dial_killed, netns, guest),
        ("listen is killed", listen_killed, netns, listen_forward, int(listen_pid)),
    ])


main()
