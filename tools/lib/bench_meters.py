"""What tools/bench meters runs: viewers by the thousand, as nginx-rtmp would report them, and a few real ones.

glass PORT CONTROL VIEWERS: nginx's stat and control pages, with our viewers in the list. run …: their hooks,
the real players, and the verdict. rtmp …, hls …: one real player, in a process of its own, because what is
measured must not wait for our hooks.
"""
import argparse, calendar, heapq, http.server, json, re, selectors, socket, subprocess, sys, time
import urllib.error, urllib.parse, urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlparse, parse_qs

FIRST = 1000000    # numbers of our clients: beyond all of nginx
UPDATE_S = 5       # notify_update_timeout
CLIENT = ("<client><id>%d</id><address>127.0.0.1</address><time>@</time><flashver>LNX 9,0,124,2</flashver>"
          "<dropped>0</dropped><avsync>-12</avsync><timestamp>@</timestamp><active/></client>\n")


class Glass:
    """nginx's two pages. Ours are added to the clients of the stream, all of them and always: who has not come
    yet, or has gone, is nobody that the service knows. Drops of ours are noted."""

    def __init__(self, port, control, viewers):
        self.control, self.dropped, self.began = control, {}, time.monotonic()
        self.ours = "".join(CLIENT % (FIRST + i) for i in range(viewers)).encode()
        glass = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                status, body = glass.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError: # nobody waits for it any more
                    pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

        self.server = Server(("127.0.0.1", port), Handler)

    def answer(self, path):
        if path == "/dropped":
            return 200, json.dumps(self.dropped).encode()
        if path.startswith("/control/drop/client"):
            client = int(parse_qs(urlparse(path).query)["clientid"][0])
            if client >= FIRST:
                self.dropped.setdefault(client, time.monotonic())
                return 200, b"1"
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d%s" % (self.control, path), timeout=3) as reply:
                body = reply.read()
        except OSError:
            return 503, b""
        return 200, self.add(body) if path.startswith("/stat") else body

    def add(self, page):
        live = page.find(b"<name>live</name>")
        at = page.find(b"<meta>", live)
        if live < 0 or at < 0:
            return page
        ms = b"%d" % ((time.monotonic() - self.began) * 1000)
        return page[:at] + self.ours.replace(b"@", ms) + page[at:]


def dropped_of(port):
    with urllib.request.urlopen("http://127.0.0.1:%d/dropped" % port, timeout=20) as reply:
        return {int(client): at for client, at in json.load(reply).items()}


class Hooks:
    """Posts like nginx-rtmp: a connection for each call, HTTP/1.0, answers awaited without blocking."""

    def __init__(self, port, secret, boot):
        self.port, self.path = port, "/hooks/%s/%s/" % (secret, boot)
        self.selector, self.waiting = selectors.DefaultSelector(), 0
        self.slowest, self.sent = 0, 0

    def post(self, call, client, rest, done):
        if self.waiting > 5000:
            sys.exit("meters: the hooks service does not answer any more: FELL SHORT")
        body = ("app=live&flashver=LNX%%209,0,124,2&swfurl=&tcurl=rtmp%%3A%%2F%%2Flocalhost%%2Flive&pageurl="
                "&addr=127.0.0.1&clientid=%d&%s" % (client, rest))
        head = ("POST %s%s HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                "Connection: Close\r\nContent-Length: %d\r\n\r\n" % (self.path, call, len(body)))
        s = socket.create_connection(("127.0.0.1", self.port), 5)
        s.sendall((head + body).encode())
        s.setblocking(False)
        self.sent += 1
        self.waiting += 1
        self.selector.register(s, selectors.EVENT_READ, (time.monotonic(), done))

    def work(self, seconds):
        for key, _ in self.selector.select(max(seconds, 0)):
            began, done = key.data
            try:
                data = key.fileobj.recv(4096)
            except OSError:
                data = b""
            self.selector.unregister(key.fileobj)
            key.fileobj.close()
            self.waiting -= 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            done(int(data[9:12]) if data.startswith(b"HTTP/1.") else 0)


def histogram(port, name):
    """→ the bounds, and the count up to each."""
    with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=5) as reply:
        text = reply.read().decode()
    found = re.findall(r'^%s_bucket\{.*le="([^"]+)".*\} (\d+)$' % name, text, re.M)
    return [(float(bound.replace("+Inf", "inf")), int(count)) for bound, count in found]


def percentile(before, after, share):
    counts = [(bound, count - before[i][1]) for i, (bound, count) in enumerate(after)]
    total = counts[-1][1]
    for bound, count in counts:
        if count >= share * total:
            return bound, total
    return float("inf"), total


def cpu(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def logged(path, event, account):
    """The wall clock of a line of the log, in seconds."""
    with open(path, errors="replace") as f:
        for line in f:
            if '"%s"' % event in line and '"account":%d,' % account in line:
                stamp = re.search(r'"time":"([^"]+)Z"', line).group(1)
                base, fraction = stamp.split(".")
                return calendar.timegm(time.strptime(base, "%Y-%m-%dT%H:%M:%S")) + float("0." + fraction)


def real_rtmp(options, account, credits, ticket):
    """Plays until nginx ends it. → how long after the last paid second its last byte came."""
    player = subprocess.Popen(["ffmpeg", "-nostdin", "-v", "quiet", "-i",
                               "rtmp://%s/live/%s?t=%s" % (options.rtmp, options.slug, ticket),
                               "-c", "copy", "-flush_packets", "1", "-f", "flv", "-"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    last = 0
    while player.stdout.read1(65536):
        last = time.time()
    player.wait()
    began = logged(options.log, "streaming.playing", account)
    return [last - began - credits if began else 1e9, 0, 0]


def real_hls(options, account, credits, ticket):
    """A player that asks for the list twice a second, and for each new key and segment. → how long after
    the last paid second something that can be shown was served, and the length of a segment."""
    base = "%s/media/hls/%s/" % (options.site, ticket)

    def get(url):
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                return reply.status, reply.read().decode("latin-1")
        except urllib.error.HTTPError as error:
            return error.code, ""
    began, last, seen, longest, limit = None, None, set(), 0, time.monotonic() + credits + 60
    while time.monotonic() < limit:
        status, text = get(base + "index.m3u8")
        if status == 200:
            began = began or logged(options.log, "streaming.watching", account) or time.time()
            key = None
            for line in text.splitlines():
                if line.startswith("#EXT-X-KEY"):
                    key = re.search(r'URI="([^"]+)"', line)
                if line.startswith("#EXTINF:"):
                    longest = max(longest, float(line[8:].split(",")[0]))
                if line and not line.startswith("#") and line not in seen:
                    opened = not key or get(urllib.parse.urljoin(base, key.group(1)))[0] == 200
                    if get(urllib.parse.urljoin(base, line))[0] == 200 and opened:
                        seen.add(line)
                        last = time.time()
        elif began and status == 403:
            return [last - began - credits if last else 1e9, longest, len(seen)]
        time.sleep(0.5)
    return [1e9, longest, len(seen)]


def player(kind, account, credits, ticket):
    """Runs one by the same command line, and returns what it found."""
    found = subprocess.run([sys.executable, __file__, kind] + sys.argv[2:] + ["--player", str(account), str(credits), ticket],
                           stdout=subprocess.PIPE, timeout=300).stdout
    return json.loads(found or "[1e9, 0, 0]")


def run(options):
    with open(options.tickets) as f:
        tickets = [(int(a), int(c), t) for a, c, t in (line.split() for line in f)]
    real, ours = tickets[:20], tickets[20:]
    hooks = Hooks(options.hooks, options.secret, options.boot)
    due, began_at, ends, refused, gone = [], {}, {}, {}, set()
    ramp = max(len(ours) / 500, 5)

    def update(client, number):
        if client in gone:
            return
        ms = int((time.monotonic() - began_at[client]) * 1000)

        def answered(status):
            if status == 403 and client not in gone: # cut: nginx ends the connection, and says so
                gone.add(client)
                hooks.post("play_done", client, "call=play_done&name=" + options.slug, lambda _: None)
                hooks.post("disconnect", client, "call=disconnect&app=live", lambda _: None)
        hooks.post("update", client, "call=update_play&time=%d&timestamp=%d&name=%s" % (ms // 1000, ms, options.slug),
                   answered)
        heapq.heappush(due, (time.monotonic() + UPDATE_S, client, number + 1))

    def play(index):
        account, credits, ticket = ours[index]
        client = FIRST + index

        def answered(status):
            if status != 200:
                refused[status] = refused.get(status, 0) + 1
                return
            now = time.monotonic()
            began_at[client] = now
            if credits:
                ends[client] = now + credits
            heapq.heappush(due, (now + UPDATE_S, client, 1))
        hooks.post("play", client, "call=play&name=%s&start=0&duration=0&reset=0&t=%s" % (options.slug, ticket), answered)

    began = time.monotonic()
    for index in range(len(ours)):
        heapq.heappush(due, (began + index * ramp / len(ours), FIRST + index, -1))
    print("%d viewers come in %d s" % (len(ours), ramp), flush=True)
    pool, futures = ThreadPoolExecutor(20), []
    window, measured, late = None, None, 0
    over = began + ramp + options.seconds + 3
    while time.monotonic() < over:
        now = time.monotonic()
        for _ in range(50): # then answers again, however far behind we are
            if not due or due[0][0] > now:
                break
            at, client, number = heapq.heappop(due)
            late = max(late, now - at)
            play(client - FIRST) if number < 0 else update(client, number)
            now = time.monotonic()
        hooks.work(min(due[0][0] - now if due else 0.05, 0.05))
        if not window and now > began + ramp + 3:
            window = (now, cpu(options.pid), cpu(options.redis), hooks.sent,
                      histogram(options.hooks, "footlight_billing_tick_lateness_seconds"), time.process_time())
            for i, (account, credits, ticket) in enumerate(real):
                futures.append((i % 2, pool.submit(player, "hls" if i % 2 else "rtmp", account, credits, ticket)))
    now = time.monotonic()
    after = histogram(options.hooks, "footlight_billing_tick_lateness_seconds")
    took = now - window[0]
    busy, redis_busy = (cpu(options.pid) - window[1]) / took, (cpu(options.redis) - window[2]) / took
    bound, ticks = percentile(window[4], after, 0.99)
    print("%d hooks/s and %d ticks/s on one instance: %.0f%% of a core, Redis %.0f%%, ourselves %.0f%%" % (
        (hooks.sent - window[3]) / took, ticks / took, busy * 100, redis_busy * 100,
        (time.process_time() - window[5]) / took * 100))
    if refused:
        print("refused, by status: %s" % refused)
    print("ticks late: p99 at most %g s (of %d); answers to hooks at most %.2f s, our own hooks %.2f s late" % (
        bound, ticks, hooks.slowest, late))
    dropped = dropped_of(options.glass)
    lateness = sorted(dropped[c] - end for c, end in ends.items() if c in dropped)
    wrong = [c for c in dropped if c not in ends]
    missing = [c for c, end in ends.items() if c not in dropped and end < now - 2]
    print("cut off after the last paid second: %d viewers, %.2f to %.2f s; %d not at all, %d who had credits" % (
        len(lateness), lateness[0] if lateness else 0, lateness[-1] if lateness else 0, len(missing), len(wrong)))
    rtmp = sorted(f.result()[0] for kind, f in futures if kind == 0)
    hls = sorted(f.result() for kind, f in futures if kind == 1)
    print("real RTMP players: %d, %.2f to %.2f s after it; HLS players: %d, %.2f to %.2f s after it (segments of %.1f s)"
          % (len(rtmp), rtmp[0], rtmp[-1], len(hls), hls[0][0], hls[-1][0], max(h[1] for h in hls)), flush=True)
    rate = (hooks.sent - window[3]) / took
    good = {
        "hooks came as nginx sends them (is the machine busy?)": rate > 0.85 * len(began_at) / UPDATE_S,
        "nobody was refused": not refused, "p99 of a tick below 1 s": bound < 1, "below one core": busy < 1,
        "all cut within 2 s": bool(lateness) and not missing and not wrong and -1 < lateness[0] and lateness[-1] < 2,
        "real players within 2 s": -1 < rtmp[0] and rtmp[-1] < 2,
        "HLS within a segment and 2 s": all(h[0] < h[1] + 2 and h[2] > 0 for h in hls),
    }
    for what, fine in good.items():
        if not fine:
            print("not so: " + what)
    print("meters: %d open on one hooks instance: %s" % (len(ours), "holds" if all(good.values()) else "FELL SHORT"))
    return 0 if all(good.values()) else 1


def main():
    if sys.argv[1] == "glass":
        Glass(*map(int, sys.argv[2:5])).server.serve_forever()
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("run", "rtmp", "hls"))
    parser.add_argument("--player", nargs=3)
    for name in ("glass", "hooks", "pid", "redis", "seconds"):
        parser.add_argument("--" + name, type=int, required=True)
    for name in ("site", "rtmp", "secret", "boot", "slug", "tickets", "log"):
        parser.add_argument("--" + name, required=True)
    options = parser.parse_args()
    if options.part == "run":
        sys.exit(run(options))
    account, credits, ticket = options.player
    play = real_rtmp if options.part == "rtmp" else real_hls
    print(json.dumps(play(options, int(account), int(credits), ticket)))


main()
