# SPDX-License-Identifier: MIT
"""A link spoken by hand, step by step: see wire() in guest-dialing.sh."""
import os, socket, struct, sys, time

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(sys.argv[1])
    return s

def take(s, n):
    got = b""
    while len(got) < n:
        piece = s.recv(n - len(got))
        if not piece:
            raise EOFError
        got += piece
    return got

def line(s):
    got = b""
    while not got.endswith(b"\n"):
        got += take(s, 1)
    return got

def rest(s):
    while piece := s.recv(65536):
        out.write(piece)

def step(s, text):
    verb, _, text = text.partition(":")
    data = text.encode().decode("unicode_escape").encode("latin-1")
    if verb == "send":
        s.sendall(data)
    elif verb == "data":
        s.sendall(struct.pack(">I", len(data)) + data)
    elif verb == "eof":
        s.sendall(b"\1\0\0\0")
    elif verb == "line":
        out.write(line(s))
    elif verb == "rest":
        rest(s)
    elif verb == "records":
        while True:
            head, = struct.unpack(">I", take(s, 4))
            out.write([b"", b"<EOF>", b"<RESET>"][head >> 24] + take(s, head & 0xffffff))
            out.flush()
    elif verb == "shut":
        s.shutdown(socket.SHUT_WR)
    elif verb == "wait":
        while not os.path.exists(text):
            time.sleep(0.02)

out = sys.stdout.buffer
if sys.argv[2] == "each":
    for params in sys.argv[4:]:
        s = connect()
        s.sendall(b'{"jsonrpc":"2.0","id":1,"method":"%s","params":{%s}}\n'
                  % (sys.argv[3].encode(), params.encode()))
        out.write(line(s))
        rest(s)
        s.close()
else:
    s = connect()
    for text in sys.argv[2:]:
        try:
            step(s, text)
        except EOFError:
            out.write(b"<end>")
        except ConnectionResetError:
            out.write(b"<reset>")
        out.flush()
