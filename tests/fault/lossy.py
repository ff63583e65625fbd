"""A proxy for nginx-rtmp's callbacks: lossy.py LISTEN-PORT TARGET-PORT SEED

One callback in five is lost on its way there, answered into nothing, late by up to three seconds, or
delivered twice. The last line of its log counts what it did.
"""
import asyncio
import random
import sys

LISTEN, TARGET, SEED = (int(word) for word in sys.argv[1:4])
chance = random.Random(SEED)
LIMIT = 64 * 1024
done = {"whole": 0, "lost": 0, "unanswered": 0, "late": 0, "twice": 0}


async def read_request(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    if length > LIMIT:
        raise ValueError("too long")
    return head + await reader.readexactly(length)


async def ask(request):
    reader, writer = await asyncio.open_connection("127.0.0.1", TARGET)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()


async def serve(reader, writer):
    try:
        request = await read_request(reader)
        kind = "whole"
        if chance.random() < 0.2:
            kind = chance.choice(["lost", "unanswered", "late", "twice"])
        done[kind] += 1
        if kind == "lost":
            return
        if kind == "late":
            await asyncio.sleep(0.5 + 2.5 * chance.random())
        answer = await ask(request)
        if kind == "unanswered":
            return
        writer.write(answer)
        await writer.drain()
        if kind == "twice":
            await ask(request)
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # whoever is cut off is cut off: that is what this is for
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", LISTEN, limit=LIMIT)
    async with server:
        while True:
            await asyncio.sleep(10)
            print(done, flush=True)


asyncio.run(main())
