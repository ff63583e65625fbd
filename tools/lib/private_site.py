"""A site of one's own for benchmarks and fault runs: a folder, private stores, a server, an entry.

Everything lives in a new folder below the temporary directory and goes away with close(). Servers are
started in sessions of their own and ended by their ids.
"""
import os, re, shutil, signal, socket, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SECRETS = ("ticket", "token", "cookie", "hooks", "seal", "segment", "mariadb")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children(pid):
    """The process and all below it."""
    found = [pid]
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as f:
                    if int(f.read().rsplit(")", 1)[1].split()[1]) == pid:
                        found += children(int(name))
            except (OSError, IndexError):
                pass
    return found


def cpu(pid):
    """Seconds of computing, user and system, of a process and all below it."""
    ticks = 0
    for p in children(pid):
        with open("/proc/%d/stat" % p) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pid):
    """KiB, shared pages by their share."""
    kb = 0
    for p in children(pid):
        try:
            with open("/proc/%d/smaps_rollup" % p) as f:
                kb += int(re.search(r"Pss:\s+(\d+)", f.read()).group(1))
        except OSError:
            pass
    return kb


def need(*tools):
    for tool in tools:
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin"):
            sys.exit("%s is not installed" % tool)


class Site:
    def __init__(self, binary=None):
        self.binary = binary or os.path.join(ROOT, "build/release/footlight")
        if not os.access(self.binary, os.X_OK):
            sys.exit("%s is not built" % self.binary)
        self.folder = tempfile.mkdtemp(prefix="footlight-site-")
        self.root = os.path.join(self.folder, "root")
        self.running = []
        self.ports = {}

    def start(self, *command, log=None, **more):
        out = open(os.path.join(self.folder, log or "output-%d.log" % len(self.running)), "ab")
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True, **more)
        self.running.append(process)
        return process

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w") as f:
            f.write(text)
        os.rename(path + ".new", path)
        return path

    # ---- stores

    def start_redis(self):
        need("redis-server", "redis-cli")
        process = self.start("redis-server", "--port", "0", "--unixsocket", self.folder + "/redis.sock", "--save", "",
                             "--dir", self.folder, log="redis.log")
        self.wait(lambda: subprocess.run(["redis-cli", "-s", self.folder + "/redis.sock", "PING"],
                                         capture_output=True, text=True).stdout.startswith("PONG"), "Redis")
        return process

    def redis(self, *command):
        return subprocess.run(["redis-cli", "-s", self.folder + "/redis.sock", *command], check=True,
                              capture_output=True, text=True).stdout

    def start_mariadb(self):
        """A server with a database and a user without a password, both called bench."""
        need("mariadbd", "mariadb", "mariadb-install-db")
        owner = ["--user=root"] if os.geteuid() == 0 else []
        data = self.folder + "/data"
        new = not os.path.isdir(data)
        if new:
            subprocess.run(["mariadb-install-db", "--no-defaults", "--datadir=" + data, "--tmpdir=" + self.folder, "--skip-name-resolve", "--skip-test-db",
                            "--auth-root-authentication-method=normal", *owner], check=True, capture_output=True)
        process = self.start("/usr/sbin/mariadbd", "--no-defaults", "--datadir=" + data, "--tmpdir=" + self.folder, "--socket=" + self.folder + "/mariadb.sock",
                             "--skip-networking", "--performance-schema=OFF", "--pid-file=" + self.folder + "/mariadb.pid",
                             "--max-connections=200", *owner, log="mariadb.log")
        self.wait(lambda: self.sql("SELECT 1") is not None, "MariaDB")
        if new:
            self.sql("CREATE DATABASE bench CHARACTER SET utf8mb4;"
                     "CREATE USER bench@localhost IDENTIFIED VIA mysql_native_password USING '';"
                     "GRANT ALL ON bench.* TO bench@localhost;")
        return process

    def sql(self, text):
        done = subprocess.run(["mariadb", "--no-defaults", "--socket=" + self.folder + "/mariadb.sock", "--user=root", "-e", text],
                              capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else None

    # ---- the service

    def prepare(self, entry, templates=None, environment="production", services=("web",), lines=False):
        """Writes the root folder (with a copy of the framework) and the settings.

        With lines, the stores are reached through sockets of another name, NAME-line.sock."""
        for name in {"footlight", *services} - {"web"}:
            shutil.copytree(ROOT + "/lua/" + name, self.root + "/lua/" + name)
        if "realtime" in services:
            shutil.copytree(ROOT + "/lua/moderation", self.root + "/lua/moderation")
        self.write("root/lua/site/init.lua", entry)
        os.symlink(ROOT + "/conf", self.root + "/conf")
        os.makedirs(self.root + "/templates", exist_ok=True)
        for name, text in (templates or {}).items():
            self.write("root/templates/" + name, text)
        var = self.folder + "/var"
        os.makedirs(var + "/run")
        for name in SECRETS:
            os.chmod(self.write("var/secrets/" + name, os.urandom(32).hex() + "\n"), 0o600)
        self.ports = {name: free_port() for name in services}
        end = "-line" if lines else ""
        listen = ", ".join('%s = "127.0.0.1:%d"' % pair for pair in self.ports.items())
        self.write("site.lua", 'return { environment = "%s", var = "%s", listen = { %s }, '
                   'redis = { main = { address = "unix:%s/redis%s.sock" } }, '
                   'mariadb = { socket = "%s/mariadb%s.sock", user = "bench", database = "bench" } }\n'
                   % (environment, var, listen, self.folder, end, self.folder, end))

    def serve(self, *prefix):
        """Starts `footlight serve` with the services of prepare(); prefix: taskset and the like."""
        process = self.start(*prefix, self.binary, "--root", self.root, "--site", self.folder + "/site.lua",
                             "serve", *self.ports, log="footlight.log")
        for port in self.ports.values():
            self.wait(lambda: self.get(port, "/metrics")[0] == 200, "footlight on port %d" % port)
        return process

    def get(self, port, path, limit=5):
        """One request on a connection of its own: status (0: none) and body."""
        try:
            with socket.create_connection(("127.0.0.1", port), limit) as s:
                s.settimeout(limit)
                s.sendall(b"GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n" % path.encode())
                answer = b""
                while True:
                    part = s.recv(65536)
                    if not part:
                        break
                    answer += part
            head, _, body = answer.partition(b"\r\n\r\n")
            return int(head.split()[1]), body.decode("utf-8", "replace")
        except (OSError, IndexError, ValueError):
            return 0, ""

    def metric(self, service, name):
        """The sum over all labels, or None."""
        found = re.findall(r"^%s(?:\{[^}]*\})? ([0-9.e+]+)$" % name, self.get(self.ports[service], "/metrics")[1], re.M)
        return sum(map(float, found)) if found else None

    # ---- ends

    def wait(self, done, what, seconds=30):
        end = time.monotonic() + seconds
        while not done():
            for process in self.running:
                if process.poll() is not None and process.returncode not in (0, -signal.SIGTERM, -signal.SIGKILL):
                    sys.exit("%s ended with %d; its output:\n%s" % (process.args[0], process.returncode, self.tail()))
            if time.monotonic() > end:
                sys.exit("%s does not answer:\n%s" % (what, self.tail()))
            time.sleep(0.02)

    def tail(self, *levels):
        """The ends of all logs; with levels, the service's lines of these only, failed requests left out."""
        text = ""
        if levels:
            with open(self.folder + "/footlight.log", errors="replace") as f:
                lines = [line for line in f if any('"level":"%s"' % level in line for level in levels) and "http.handler_failed" not in line]
            return "".join(lines[-20:])
        for name in sorted(os.listdir(self.folder)):
            if name.endswith(".log"):
                with open(os.path.join(self.folder, name), errors="replace") as f:
                    text += "--- %s\n%s" % (name, f.read()[-2000:])
        return text

    def close(self):
        for process in reversed(self.running):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
