#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A folder's files, and what an application's HTTP server does beyond serving them.

usage: http-server.py ADDRESS PORT FOLDER
       http-server.py PATH FOLDER           on a Unix socket

    PUT  /anything      answers with the body's SHA-256
    POST /echo          answers with the body, in chunks
    GET  /upgrade       101, and then lines: each is answered in upper case, until "bye"
"""

import functools
import hashlib
import http.server
import socket
import socketserver
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return str(self.client_address)  # which is empty on a Unix socket

    def pieces(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers["Content-Length"])
        while left > 0:
            piece = self.rfile.read(min(left, 1 << 16))
            left -= len(piece)
            yield piece

    def do_PUT(self):
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        body = digest.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in self.pieces():
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def do_GET(self):
        if self.path != "/upgrade":
            super().do_GET()
            return
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "lines")
        self.end_headers()
        while (line := self.rfile.readline()) not in (b"bye\n", b""):
            self.wfile.write(line.upper())
        self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1000


class UnixServer(Server):
    address_family = socket.AF_UNIX

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks for a host's name


if len(sys.argv) == 3:
    kind, address = UnixServer, sys.argv[1]
else:
    kind, address = Server, (sys.argv[1], int(sys.argv[2]))
kind(address, functools.partial(Handler, directory=sys.argv[-1])).serve_forever()
