#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many connections to an echoing server; exits with 1 unless all of them got back what they sent.

usage: pod-crowd.py at-once ADDRESS:PORT COUNT SIZE     all at once, each SIZE random bytes
       pod-crowd.py again ADDRESS:PORT COUNT SIZE       and a new attempt after a reset
       pod-crowd.py churn ADDRESS:PORT COUNT SIZE       one after the other, eight at a time
       pod-crowd.py fair ADDRESS:PORT COUNT SIZE TIMES
                  each comes again as soon as it was served, until one was served TIMES times: all were at least a third as often
       pod-crowd.py hold ADDRESS:PORT COUNT SIZE OPEN END
                  all are opened and one byte goes both ways; the file OPEN tells that it did;
                  when the file END is there, each exchanges its bytes and ends
       pod-crowd.py slow SOCKET COUNT OPEN
                  links that say nothing, or a byte now and then, until they are closed
       pod-crowd.py garbage SOCKET COUNT SIZE           links with random lines, until they are closed
"""

import asyncio
import os
import random
import resource
import sys

ATTEMPTS = 1000


async def connect(where):
    if where.startswith("/"):
        return await asyncio.open_unix_connection(where)
    host, _, port = where.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))


async def receive(reader, data):
    return await reader.readexactly(len(data)) == data


async def exchange(reader, writer, size):
    data = random.randbytes(size)

    async def send():
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    good = await receive(reader, data) and await reader.read() == b""
    await sending
    writer.close()
    return good


async def one(where, size, attempts):
    while True:
        attempts -= 1
        try:
            return await exchange(*await connect(where), size)
        except (OSError, asyncio.IncompleteReadError):
            if attempts <= 0:
                raise
            await asyncio.sleep(0.05)


async def several(count, at_once, job):
    """Runs it `count` times; how often it told True."""
    limit = asyncio.Semaphore(at_once)

    async def limited():
        async with limit:
            return await job()

    results = await asyncio.gather(*(limited() for _ in range(count)), return_exceptions=True)
    failed = [result for result in results if result is not True]
    if failed:
        print("the first that failed:", repr(failed[0]))
    return count - len(failed)


async def hold(where, count, size, opened, end):
    async def open_one():
        reader, writer = await connect(where)
        writer.write(b"x")
        held.append((reader, writer))
        return await receive(reader, b"x")

    held = []
    if await several(count, count, open_one) != count:
        return 0
    open(opened, "w").close()
    while not os.path.exists(end):
        await asyncio.sleep(0.02)
    return await several(count, count, lambda: exchange(*held.pop(), size))


async def fair(where, count, size, times):
    async def again(number):
        while max(served) < times:
            if not await one(where, size, 1):
                return
            served[number] += 1

    served = [0] * count
    clients = [asyncio.create_task(again(number)) for number in range(count)]
    await asyncio.wait(clients, return_when=asyncio.FIRST_COMPLETED)
    print("served:", *served)
    return sum(3 * number >= times for number in served)


async def slow(path, count, opened):
    async def open_one():
        links.append(await connect(path))
        return True

    async def stay():
        chatty = len(links) % 3 == 0
        reader, writer = links.pop()
        ended = asyncio.create_task(reader.read())
        while chatty and not ended.done():
            try:
                writer.write(b"{")
            except OSError:
                pass
            await asyncio.wait([ended], timeout=0.2)
        await ended
        return True

    links = []
    await several(count, count, open_one)
    open(opened, "w").close()
    return await several(count, count, stay)


async def garbage(path, size):
    reader, writer = await connect(path)
    writer.write(random.randbytes(size).replace(b"\n", b"") + b"\n")
    try:
        await reader.read()
    except ConnectionResetError:
        pass
    writer.close()
    return True


async def main():
    mode, where, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if mode == "hold":
        done = await hold(where, count, int(sys.argv[4]), *sys.argv[5:])
    elif mode == "fair":
        done = await fair(where, count, int(sys.argv[4]), int(sys.argv[5]))
    elif mode == "slow":
        done = await slow(where, count, sys.argv[4])
    elif mode == "garbage":
        done = await several(count, count, lambda: garbage(where, int(sys.argv[4])))
    else:
        attempts = ATTEMPTS if mode == "again" else 1
        done = await several(count, 8 if mode == "churn" else count,
                             lambda: one(where, int(sys.argv[4]), attempts))
    print(f"{done} of {count}")
    sys.exit(done != count)


asyncio.run(main())
