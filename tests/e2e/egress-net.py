#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The Internet of the tests of egress, or its web: HTTP and HTTPS at every address, and datagrams.

usage: egress-net.py FOLDER CERTIFICATE KEY LOG [GIT-ROOT]

    80, 8080         HTTP: the files of FOLDER/ADDRESS, ADDRESS being the one that was connected to
    443, 8443        the same by TLS
    /git/...         git http-backend of GIT-ROOT
    7/udp, 443/udp   sends datagrams back, each from the address that it came to

LOG gets a line for each request, and for each datagram of a client's that is new: "ADDRESS:PORT NAME", with the
server name of TLS, the Host of HTTP, or the number of bytes. "ready" on stdout, once all of it listens.
"""

import http.server
import os
import socket
import socketserver
import ssl
import subprocess
import sys
import threading

IPV6_RECVPKTINFO, IPV6_PKTINFO = 49, 50


def normal(address):
    return address.removeprefix("::ffff:")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def here(self):
        return normal(self.connection.getsockname()[0])

    def tell(self):
        port = self.connection.getsockname()[1]
        name = getattr(self.connection, "sni", None) or self.headers["Host"]
        os.write(self.server.log, ("%s:%d %s\n" % (self.here(), port, name)).encode())

    def send(self, status, fields, body):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        self.tell()
        if self.path.startswith("/git/"):
            self.git(b"")
            return
        path = os.path.normpath(self.path.partition("?")[0])
        try:
            with open("%s/%s%s" % (self.server.folder, self.here(), path), "rb") as file:
                self.send(200, [("Content-Type", "application/octet-stream")], file.read())
        except OSError:
            self.send(404, [], b"not here\n")

    do_HEAD = do_GET

    def do_POST(self):
        self.tell()
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.git(body)

    def git(self, body):
        """CGI (RFC 3875), as far as git http-backend needs it."""
        path, _, query = self.path.removeprefix("/git").partition("?")
        env = dict(os.environ, GIT_PROJECT_ROOT=self.server.git, GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path,
                   QUERY_STRING=query, REQUEST_METHOD=self.command, REMOTE_USER="git", REMOTE_ADDR="127.0.0.1",
                   CONTENT_TYPE=self.headers.get("Content-Type", ""), CONTENT_LENGTH=str(len(body)),
                   HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding", ""),
                   GIT_PROTOCOL=self.headers.get("Git-Protocol", ""))
        done = subprocess.run(["git", "http-backend"], input=body, env=env, stdout=subprocess.PIPE, check=False)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = [int(value.split()[0]) for name, value in fields if name == "Status"]
        self.send(status[0] if status else 200, [field for field in fields if field[0] != "Status"], answer)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 1000
    tls = None

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)

    def finish_request(self, request, client_address):
        if self.tls:
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        pass


def take_name(sock, name, context):
    sock.sni = name


def echo(sock, log):
    """With the address that a datagram came to for the answer's source."""
    seen = set()
    port = sock.getsockname()[1]
    while True:
        data, control, _, peer = sock.recvmsg(65536, 256)
        _, _, info = control[0]
        if (peer, info[:16]) not in seen:
            seen.add((peer, info[:16]))
            here = normal(socket.inet_ntop(socket.AF_INET6, info[:16]))
            os.write(log, ("%s:%d/udp %d\n" % (here, port, len(data))).encode())
        sock.sendmsg([data], [(socket.IPPROTO_IPV6, IPV6_PKTINFO, info[:16] + bytes(4))], 0, peer)


def main():
    folder, certificate, key, log = sys.argv[1:5]
    log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    tls.sni_callback = take_name
    for port in 80, 8080, 443, 8443:
        server = Server(("::", port), Handler)
        server.folder, server.log = folder, log
        server.git = sys.argv[5] if len(sys.argv) > 5 else None
        server.tls = tls if port % 1000 == 443 else None
        threading.Thread(target=server.serve_forever, daemon=True).start()
    for port in 7, 443:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sock.bind(("::", port))
        threading.Thread(target=echo, args=(sock, log), daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


main()
