#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A server in a pod: echoes what each client sends until its end.

usage: pod-server.py [--greet] ADDRESS:PORT...

With --greet each client is told first, in a line, on which address it was met.
"""

import asyncio
import resource
import sys


async def serve(greet, reader, writer):
    try:
        if greet:
            host, port = writer.get_extra_info("sockname")[:2]
            writer.write(f"{host} {port}\n".encode())
        while data := await reader.read(1 << 18):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
        await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main():
    args = sys.argv[1:]
    greet = args[0] == "--greet"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    servers = []
    for where in args[greet:]:
        host, _, port = where.rpartition(":")
        servers.append(await asyncio.start_server(
            lambda reader, writer: serve(greet, reader, writer),
            host.strip("[]"), int(port), backlog=4096))
    await asyncio.gather(*(server.serve_forever() for server in servers))


asyncio.run(main())
