# SPDX-License-Identifier: MIT
"""A resolver that does what the first label of a name says, on port 53 of an address, UDP and TCP.

usage: dns-upstream.py ADDRESS

Its addresses are 10.9.0.1; those that it must not be believed are 10.6.6.6.
"""

import socket
import socketserver
import struct
import sys
import threading

ADDRESS = sys.argv[1]
GOOD, FORGED = (socket.inet_aton(text) for text in ("10.9.0.1", "10.6.6.6"))


def reply(query, address, change=None):
    """One address for what is asked, with its ID, name or type changed."""
    end = query.index(b"\0", 12) + 5
    question = query[12:end]
    ident = query[:2]
    if change == "id":
        ident = bytes([query[0] ^ 1, query[1]])
    elif change == "name":
        question = b"\5other" + question
    elif change == "type":
        question = question[:-3] + b"\x1c" + question[-2:]
    header = ident + b"\x81\x80" + struct.pack(">4H", 1, 1, 0, 0)
    return header + question + b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 30, 4) + address


def first_label(query):
    return query[13 : 13 + query[12]].decode().lower()


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        query, sock = self.request
        what = first_label(query)
        if what == "silent":
            return
        if what == "forged":
            for change in "id", "name", "type":
                sock.sendto(reply(query, FORGED, change), self.client_address)
            for source in "127.0.0.9", ADDRESS:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                    other.bind((source, 0))
                    other.sendto(reply(query, FORGED), self.client_address)
        if what == "cut":
            answer = bytearray(reply(query, GOOD))
            answer[2] |= 2
            sock.sendto(answer, self.client_address)
            return
        if what == "slow":
            threading.Timer(1.5, sock.sendto, (reply(query, GOOD), self.client_address)).start()
            return
        sock.sendto(reply(query, GOOD), self.client_address)


class Stream(socketserver.StreamRequestHandler):
    def handle(self):
        while length := self.rfile.read(2):
            query = self.rfile.read(struct.unpack(">H", length)[0])
            what = first_label(query)
            if what == "closed":
                return
            answer = reply(query, GOOD, "id" if what == "forged" else None)
            for byte in struct.pack(">H", len(answer)) + answer:
                self.wfile.write(bytes([byte]))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


stream = Server((ADDRESS, 53), Stream)
threading.Thread(target=stream.serve_forever, daemon=True).start()
socketserver.ThreadingUDPServer((ADDRESS, 53), Datagram).serve_forever()
