"""tools/fault upgrade [--upgrades N] [--clients N] [--footlight BINARY]

Takes new binaries into service (USR2) N times while clients ask without a pause: on a connection for
each request, on connections that are kept, by POST, and for answers that take a while. One binary in
between does not run and must be refused. Reports, and ends with 1 if there are, refused connections, lost
requests, or an upgrade that did not take place.
"""
import argparse, asyncio, os, shutil, signal, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from private_site import Site, children

ENTRY = r'''
local task = require "runtime.task"
return { on_request = function(req)
  if req.path == "/slow" then task.sleep(0.3) end
  if req.method == "POST" then return { body = req:body() } end
  return "answer"
end }
'''


class Run:
    def __init__(self, port):
        self.port, self.over = port, False
        self.asked = 0
        self.reasons = {}

    def fail(self, reason):
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    async def client(self, kind):
        reader = writer = None
        number = 0
        while not self.over:
            number += 1
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError as error:
                self.fail("connection refused: %s" % error)
                await asyncio.sleep(0.01)
                continue
            self.asked += 1
            body = b"order %d" % number if kind == "post" else b""
            close = b"Connection: close\r\n" if kind == "fresh" else b""
            try:
                writer.write(b"%s /%s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s" % (
                    b"POST" if body else b"GET", b"slow" if kind == "slow" else b"", close, len(body), body))
                head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 15)).lower()
                answer = await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
                if b" 200 " not in head[:16] or answer != (body or b"answer"):
                    self.fail("answer: " + head.split(b"\r\n")[0].decode())
                if b"connection: close" in head:
                    writer.close()
                    writer = None
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, IndexError, ValueError) as error:
                self.fail("%s request lost: %s" % (kind, type(error).__name__))
                writer.close()
                writer = None
            await asyncio.sleep(0.002)
        if writer:
            writer.close()


def put(path, text=None, source=None):
    """A new file in the place of the old one, as a package would do it."""
    if source:
        shutil.copy2(source, path + ".new")
    else:
        with open(path + ".new", "w") as f:
            f.write(text)
    os.chmod(path + ".new", 0o755)
    os.rename(path + ".new", path)


def logged(site, event):
    with open(site.folder + "/footlight.log", errors="replace") as f:
        return f.read().count('"event":"%s"' % event)


async def until(done, what, seconds=30):
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return what
        await asyncio.sleep(0.02)


async def drive(site, run, process, binary, options):
    kinds = ("fresh", "kept", "post", "slow")
    tasks = [asyncio.create_task(run.client(kinds[i % 4])) for i in range(options.clients)]
    problem = None
    for number in range(1, options.upgrades + 1):
        before = set(children(process.pid)) - {process.pid}
        if number == 2:  # one that does not run, in between
            put(binary, "#!/bin/sh\nexit 1\n")
            process.send_signal(signal.SIGUSR2)
            problem = await until(lambda: logged(site, "supervisor.upgrade_refused") == 1, "the broken binary was not refused")
            if set(children(process.pid)) - {process.pid} != before:
                problem = "services changed although the binary was refused"
        put(binary, source=options.footlight)
        process.send_signal(signal.SIGUSR2)
        problem = problem or await until(
            lambda: logged(site, "supervisor.upgraded") == number, "upgrade %d did not take place" % number)
        problem = problem or await until(
            lambda: not before & set(children(process.pid)), "services of before upgrade %d are still there" % number)
        if problem:
            break
        print("%d upgrades, %d requests, %d failed" % (number, run.asked, sum(run.reasons.values())), flush=True)
    run.over = True
    await asyncio.gather(*tasks)
    return problem


def main():
    parser = argparse.ArgumentParser(prog="tools/fault upgrade", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrades", type=int, default=10)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--footlight")
    options = parser.parse_args()
    site = Site(options.footlight)
    options.footlight = site.binary
    try:
        site.start_redis()
        site.prepare(ENTRY)
        binary = site.binary = site.folder + "/footlight"
        put(binary, source=options.footlight)
        process = site.serve()
        run = Run(site.ports["web"])
        problem = asyncio.run(drive(site, run, process, binary, options))
        print("%d requests asked, %d failed" % (run.asked, sum(run.reasons.values())))
        for reason, count in run.reasons.items():
            print("  %d times: %s" % (count, reason))
        if problem:
            print(problem)
        if problem or run.reasons:
            print(site.tail())
        sys.exit(1 if problem or run.reasons or run.asked < 100 else 0)
    finally:
        site.close()


if __name__ == "__main__":
    main()
