"""A client with python3-websockets: lines from standard input go out, messages go to standard output."""
import asyncio
import sys

import websockets


async def main(url):
    async with websockets.connect(url) as socket:
        loop = asyncio.get_running_loop()

        async def outgoing():
            while True:
                line = await loop.run_in_executor(None, sys.stdin.readline)
                if not line:
                    await socket.close()
                    return
                await socket.send(line.rstrip("\n"))

        task = asyncio.create_task(outgoing())
        async for message in socket:
            print(message, flush=True)
        await task


asyncio.run(main(sys.argv[1]))
