"""tools/fault outage [--seconds N] [--only redis|mariadb] [--footlight BINARY]

Redis and MariaDB, each stopped (and started again), paused (SIGSTOP) and cut (its socket moved away
and the connections broken), for N seconds under load. Reports for each how long failed answers took,
how soon after the return all was well again, and what is left over; ends with 1 if an answer took longer than
the limits allow, recovery more than 2 s, a page without that store failed, or coroutines, waits or memory stay.
"""
import argparse, asyncio, os, signal, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from private_site import Site, memory

ENTRY = r'''
local db = require "runtime.db"
local redis = require "runtime.redis"
return { on_request = function(req)
  if req.path == "/redis" then return redis.call("GET", "page") end
  if req.path == "/mariadb" then return db.one("SELECT COUNT(*) AS n FROM rooms").n .. "" end
  return "plain"
end }
'''
LIMIT_S = 10.5  # lua.deadline_ms, which holds for every answer
QUICK_S = 2.5   # what half of the failing answers must be within while a server hangs
RECOVER_S = 2


class Cut:
    """Between the service and a store: a relay, whose line can be cut without the server knowing."""

    def __init__(self, front, back):
        self.front, self.back, self.open, self.writers = front, back, True, set()

    async def listen(self):
        self.server = await asyncio.start_unix_server(self.serve, self.front)

    async def serve(self, reader, writer):
        if not self.open:
            writer.transport.abort()
            return
        self.writers.add(writer)
        try:
            other_reader, other_writer = await asyncio.open_unix_connection(self.back)
        except OSError:
            writer.transport.abort()
            self.writers.discard(writer)
            return
        self.writers.add(other_writer)
        try:
            await asyncio.gather(self.pump(reader, other_writer), self.pump(other_reader, writer))
        except asyncio.CancelledError: # the run is over
            pass

    async def pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()
        self.writers.discard(writer)

    def cut(self):
        self.open = False
        for writer in list(self.writers):
            writer.transport.abort()


class Load:
    def __init__(self, port):
        self.port, self.over, self.answers = port, False, []

    async def client(self, path):
        reader = writer = None
        while not self.over:
            began = time.monotonic()
            status = 0
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                status = int(head.split()[1])
                if b"connection: close" in head.lower():
                    writer = None
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
                status = repr(error)
                writer = None
            self.answers.append((path, began, time.monotonic(), status))
            await asyncio.sleep(0.01)


async def outage(site, servers, relays, store, kind, seconds, base):
    load = Load(site.ports["web"])
    paths = ["redis", "mariadb", "plain"]
    tasks = [asyncio.create_task(load.client(path)) for path in paths for _ in range(15)]
    loop = asyncio.get_running_loop()
    await asyncio.sleep(2)
    start = time.monotonic()
    server = servers[store]
    if kind == "paused":
        server.send_signal(signal.SIGSTOP)
    elif kind == "stopped":
        server.terminate()
        await loop.run_in_executor(None, server.wait)
    else:
        relays[store].cut()
    await asyncio.sleep(seconds)
    if kind == "paused":
        server.send_signal(signal.SIGCONT)
    elif kind == "stopped":
        starter = site.start_redis if store == "redis" else site.start_mariadb
        servers[store] = await loop.run_in_executor(None, starter)
        if store == "redis":
            await loop.run_in_executor(None, lambda: site.redis("SET", "page", "x"))
    else:
        relays[store].open = True
    back = time.monotonic()
    await asyncio.sleep(5)
    load.over = True
    await asyncio.gather(*tasks)
    # What has to be well again after the return: the last failed answer that began behind it.
    hit = [a for a in load.answers if a[0] == store]
    failed = [a for a in hit if a[3] != 200]
    late = [a[2] for a in failed if a[2] > back]
    recovered = max(late) - back if late else 0
    took = sorted(a[2] - a[1] for a in failed) or [0]
    others = [a for a in load.answers if a[0] != store and a[3] != 200]
    if others:
        print("  these failed %.2f to %.2f s after the start" % (others[0][2] - start, others[-1][2] - start))
    slowest_other = max(a[2] - a[1] for a in load.answers if a[0] != store)
    end = time.monotonic() + 5
    while True:
        left = {name: int(await loop.run_in_executor(None, site.metric, "web", "footlight_lua_" + name) or 0)
                for name in ("coroutines", "waits")}
        if not any(left.values()) or time.monotonic() > end:
            break
        await asyncio.sleep(0.1)
    kb = memory(servers["footlight"].pid)
    problems = []
    if not failed and kind != "paused":
        problems.append("nothing failed")
    if took[-1] > LIMIT_S or took[len(took) // 2] > QUICK_S:
        problems.append("slow errors")
    if recovered > RECOVER_S:
        problems.append("slow recovery")
    if others:
        problems.append("%d requests without it failed (%s)" % (len(others), sorted({str(a[3]) for a in others})))
    if any(left.values()):
        problems.append("left over: %s" % left)
    if kb > base + 16 * 1024:
        problems.append("grown by %d KiB" % (kb - base))
    print("%-8s %-8s %7d %7d %9.3f %9.3f %9.2f %9.3f %9d  %s" % (store, kind, len(hit), len(failed), took[len(took) // 2], took[-1],
          recovered, slowest_other, kb, ", ".join(problems) or "good"), flush=True)
    return problems


async def run(options, site):
    servers = {"redis": site.start_redis(), "mariadb": site.start_mariadb()}
    site.redis("SET", "page", "x")
    site.sql("CREATE TABLE bench.rooms (id INT PRIMARY KEY); INSERT INTO bench.rooms VALUES (1), (2)")
    relays = {name: Cut("%s/%s-line.sock" % (site.folder, name), "%s/%s.sock" % (site.folder, name)) for name in ("redis", "mariadb")}
    for relay in relays.values():
        await relay.listen()
    site.prepare(ENTRY, lines=True)
    loop = asyncio.get_running_loop()
    servers["footlight"] = await loop.run_in_executor(None, site.serve)
    for path in ("/redis", "/mariadb"):
        await loop.run_in_executor(None, lambda: site.wait(lambda: site.get(site.ports["web"], path)[0] == 200, path))
    print("%-8s %-8s %7s %7s %9s %9s %9s %9s %9s" % ("store", "is", "asked", "failed", "median s", "slowest s", "back in s", "others s", "KiB"))
    problems, base = [], None
    for store in ("redis", "mariadb"):
        for kind in ("stopped", "paused", "cut"):
            if options.only in (None, store):
                base = base or memory(servers["footlight"].pid)
                problems += await outage(site, servers, relays, store, kind, options.seconds, base)
    return problems


def main():
    parser = argparse.ArgumentParser(prog="tools/fault outage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--only", choices=("redis", "mariadb"))
    parser.add_argument("--footlight")
    options = parser.parse_args()
    site = Site(options.footlight)
    try:
        problems = asyncio.run(run(options, site))
        if problems:
            print(site.tail("warn", "error"))
        sys.exit(1 if problems else 0)
    finally:
        site.close()


if __name__ == "__main__":
    main()
