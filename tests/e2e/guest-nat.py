# SPDX-License-Identifier: MIT
"""Who is seen behind a NAT.

guest-nat.py serve                        answers "ADDRESS\\n", the peer's, on port 7 of every address, TCP and UDP
guest-nat.py ask tcp|udp HOST [SOURCE]    prints the answer; status 1 when there is none within the timeout
"""
import os
import socket
import socketserver
import sys

PORT = 7
TIMEOUT = 1.5 * float(os.environ.get("VZFWD_TEST_SLOWNESS", "1"))


def peer_name(address):
    return address[0].removeprefix("::ffff:").encode() + b"\n"


class Connection(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(peer_name(self.client_address))


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        self.request[1].sendto(peer_name(self.client_address), self.client_address)


class TCPServer(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True


class UDPServer(socketserver.ThreadingUDPServer):
    address_family = socket.AF_INET6


def serve():
    udp = UDPServer(("::", PORT), Datagram)
    tcp = TCPServer(("::", PORT), Connection)
    if os.fork() == 0:
        udp.serve_forever()
    tcp.serve_forever()


def ask(kind, host, source=None):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[kind]) as client:
        client.settimeout(TIMEOUT)
        if source:
            client.bind((source, 0))
        client.connect((host, PORT))
        if kind == "udp":
            client.send(b"who am I?")
        print(client.recv(100).decode(), end="")


if sys.argv[1] == "serve":
    serve()
try:
    ask(*sys.argv[2:])
except OSError as error:
    sys.exit(str(error))
