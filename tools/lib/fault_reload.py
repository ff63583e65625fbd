"""tools/fault reload [--reloads N] [--clients N] [--sockets N] [--footlight BINARY]

Reloads by changing a file of the running code, N times, while clients ask for a page without a pause
and WebSockets are open and echo. Reports, and ends with 1 if there are, failed requests, answers of an
older generation than one that was given before, dropped or silent WebSockets, and memory that grows.
"""
import argparse, asyncio, base64, os, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from private_site import Site, memory

ENTRY = r'''
local number = require "footlight.fault_number"
local redis = require "runtime.redis"
return { on_request = function(req)
  if req.path == "/slow" then redis.call("PING") require("runtime.task").sleep(0.05) end
  return tostring(number)
end }
'''
GROWTH_KB = 6 * 1024 # what two readings of a busy process may differ by


class Run:
    def __init__(self, site):
        self.site, self.over = site, False
        self.asked = self.failed = self.back = self.dropped = self.silent = self.echoes = 0
        self.reasons = {}

    def fail(self, reason):
        self.failed += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    async def client(self, path):
        seen = 0
        reader = writer = None
        while not self.over:
            self.asked += 1
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.site.ports["web"])
                writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(size)
                if b" 200 " not in head[:16]:
                    self.fail(head.split(b"\r\n")[0].decode())
                else:
                    # A slow request that began before a reload is right to answer with the old number.
                    number = int(body)
                    if path == b"/" and number < seen:
                        self.back += 1
                    seen = max(seen, number)
                if b"connection: close" in head.lower():
                    writer.close()
                    writer = None
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, IndexError, ValueError) as error:
                self.fail(type(error).__name__)
                writer = None
            await asyncio.sleep(0.002)

    async def websocket(self):
        """Sends a ping frame each half second; the server must send a pong and never a close."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.site.ports["realtime"])
            key = base64.b64encode(os.urandom(16))
            writer.write(b"GET /realtime/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % key)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 101 " not in head[:16]:
                raise OSError(head.split(b"\r\n")[0].decode())
            connect = b'{"i":1,"connect":{}}'
            writer.write(bytes((0x81, 0x80 | len(connect))) + b"\0\0\0\0" + connect)
            while not self.over:
                writer.write(b"\x89\x84\0\0\0\0echo")
                while True:
                    first, second = await asyncio.wait_for(reader.readexactly(2), 10)
                    size = second & 127
                    if size == 126:
                        size = int.from_bytes(await reader.readexactly(2), "big")
                    await reader.readexactly(size)
                    if first & 15 == 10:
                        break
                    if first & 15 == 8:
                        raise OSError("close frame")
                self.echoes += 1
                await asyncio.sleep(0.5)
            writer.close()
        except asyncio.TimeoutError:
            self.silent += 1
        except (OSError, asyncio.IncompleteReadError) as error:
            self.dropped += 1
            self.reasons["websocket: %s" % error] = self.reasons.get("websocket: %s" % error, 0) + 1

    def current(self):
        status, body = self.site.get(self.site.ports["web"], "/")
        return int(body) if status == 200 else -1


async def drive(run, process, reloads, clients, sockets):
    loop = asyncio.get_running_loop()
    tasks = [asyncio.create_task(run.client(b"/slow" if i % 4 == 0 else b"/")) for i in range(clients)]
    tasks += [asyncio.create_task(run.websocket()) for _ in range(sockets)]
    readings, lost, began = [], 0, time.monotonic()
    for number in range(1, reloads + 1):
        run.site.write("root/lua/footlight/fault_number.lua", "return %d\n" % number)
        end = time.monotonic() + 5
        while await loop.run_in_executor(None, run.current) != number:
            if time.monotonic() > end:
                lost += 1
                break
            await asyncio.sleep(0.005)
        if number == 50 or number % 100 == 0:
            readings.append((number, memory(process.pid)))
        if number % 500 == 0:
            print("%d reloads, %d requests (%d failed), %d KiB" % (number, run.asked, run.failed, readings[-1][1]), flush=True)
    run.over = True
    await asyncio.gather(*tasks)
    return readings, lost, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(prog="tools/fault reload", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reloads", type=int, default=10000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--sockets", type=int, default=50)
    parser.add_argument("--footlight")
    options = parser.parse_args()
    site = Site(options.footlight)
    try:
        site.start_redis()
        site.prepare(ENTRY, environment="development", services=("web", "realtime"))
        site.write("root/lua/footlight/fault_number.lua", "return 0\n")
        process = site.serve()
        run = Run(site)
        readings, lost, seconds = asyncio.run(drive(run, process, options.reloads, options.clients, options.sockets))
        loads = {name: int(site.metric(name, "footlight_lua_loads_total") or 0) for name in site.ports}
        old = {name: int(site.metric(name, "footlight_lua_old_generations") or 0) for name in site.ports}
        first, last = readings[0][1], min(kb for _, kb in readings[-3:])
        print("%d changes in %.0f s; generations loaded: %s; still finishing: %s" % (options.reloads, seconds, loads, old))
        print("requests: %d asked, %d failed, %d answered by an older generation than before" % (run.asked, run.failed, run.back))
        print("WebSockets: %d open, %d dropped, %d silent, %d echoes" % (options.sockets, run.dropped, run.silent, run.echoes))
        print("memory of all processes: %d KiB after %d reloads, %d KiB at the end" % (first, readings[0][0], last))
        for reason, count in run.reasons.items():
            print("  %d times: %s" % (count, reason))
        bad = run.failed or run.back or run.dropped or run.silent or lost or last > first + GROWTH_KB
        if lost:
            print("%d changes were not live within 5 s" % lost)
        if bad:
            print(site.tail("warn", "error"))
        sys.exit(1 if bad else 0)
    finally:
        site.close()


if __name__ == "__main__":
    main()
