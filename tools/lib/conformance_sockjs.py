"""Runs the public test module of SockJS 0.3.3 against SOCKJS_URL, for tools/conformance.

    conformance_sockjs.py MODULE.py [TEST …]

The module is for Python 2: it is converted as it is loaded, and what it imports is here: HTTP as it
is on the wire, and clients of the two kinds of WebSocket. Pieces of
bodies are one character a byte, whole bodies and messages of WebSockets are text. Ends with 1 if a test failed.
"""
import base64, os, re, socket, struct, sys, types, unittest, urllib.parse, warnings

LIMIT = 2  # seconds for any answer


class Headers(dict):
    def __init__(self, given=()):
        super().__init__((name.lower(), value) for name, value in dict(given).items())

    def __getitem__(self, name):
        return super().__getitem__(name.lower())

    def __setitem__(self, name, value):
        super().__setitem__(name.lower(), value)

    def __contains__(self, name):
        return super().__contains__(name.lower())

    def get(self, name, otherwise=None):
        return super().get(name.lower(), otherwise)


class Response:
    def __getitem__(self, name):
        return self.headers.get(name)

    def get(self, name, otherwise=None):
        return self.headers.get(name, otherwise)


class RawHttpConnection:
    def __init__(self, url):
        where = urllib.parse.urlparse(url)
        self.socket = socket.create_connection((where.hostname, where.port), timeout=LIMIT)

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def recv(self, most):
        return self.socket.recv(most).decode("latin-1")

    def line(self):
        text = ""
        while not text.endswith("\n"):
            part = self.recv(1)
            if not part:
                raise Exception("the connection ended within a line")
            text += part
        return text.rstrip("\r\n")

    def send_request(self, method, url, headers=(), body=None, http="1.1"):
        where = urllib.parse.urlparse(url)
        body = body.encode() if isinstance(body, str) else body
        if method == "POST" and body is None:
            body = b""
        lines = [f"{method} {url[url.index(where.path):]} HTTP/{http}", f"Host: {where.netloc}"]
        lines += [f"{name}: {value}" for name, value in dict(headers).items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines + ["", ""]))
        self.send(body or b"")

    def request(self, method, url, **more):
        self.send_request(method, url, **more)
        response = Response()
        response.http, status, response.description = re.match(r"HTTP/(\S+) (\S+) ?(.*)", self.line()).groups()
        response.status = int(status)
        response.headers = Headers()
        while line := self.line():
            name, _, value = line.partition(":")
            response.headers[name] = value.strip()
        return response

    def read(self, size=None):
        if size is None:
            return self.recv(999999)
        data = ""
        while len(data) < size:
            part = self.recv(size - len(data))
            if not part:
                raise Exception("the connection ended early")
            data += part
        return data

    def read_chunk(self):
        return self.read(int(self.line(), 16) + 2)[:-2]

    def read_to_end(self):
        data = ""
        while part := self.recv(999999):
            data += part
        return data

    def closed(self):
        if self.recv(1):
            raise Exception("the connection is still open")
        return True

    def close(self):
        self.socket.close()


def reader(connection, response):
    """What reads the body: a piece a call, and whether calls go on to the end."""
    if response.get("transfer-encoding", "").lower() == "chunked":
        return connection.read_chunk, True
    if response.get("content-length"):
        return lambda: connection.read(int(response["content-length"])), False
    if response.status in (101, 204, 304):
        return connection.read, False
    if "close" in response.get("connection", "").lower():
        return connection.read, True
    raise Exception(f"{response.status}: nothing tells where the body ends")


def asynchronous(method):
    def run(url, **more):
        connection = RawHttpConnection(url)
        response = connection.request(method, url, **more)
        response.read, response.close = reader(connection, response)[0], connection.close
        return response

    return run


def synchronous(method):
    def run(url, **more):
        connection = RawHttpConnection(url)
        response = connection.request(method, url, **more)
        read, whole = reader(connection, response)
        if response.status in (101, 204, 304) and not whole:
            response.body = ""
        else:
            response.body = read()
            while whole and (part := read()):
                response.body += part
        response.body = response.body.encode("latin-1").decode("utf-8", "replace")
        connection.close()
        return response

    return run


def unanswered_post(url, load=True, **more):
    connection = RawHttpConnection(url)
    connection.send_request("POST", url, **more)
    return types.SimpleNamespace(close=connection.close)


class Closed(Exception):
    pass


class WebSocket8Client:
    """RFC 6455, as of its draft 8."""
    ConnectionClosedException = Closed

    def __init__(self, url):
        where = urllib.parse.urlparse(url)
        self.connection = RawHttpConnection(url)
        response = self.connection.request("GET", urllib.parse.urlunparse(where._replace(scheme="http")), headers={
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "8",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()})
        assert response.status == 101, response.status

    def frame(self, first, payload):
        mask = os.urandom(4)
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else struct.pack("!BH", 0xFE, len(payload))
        self.connection.send(bytes([first]) + size + mask + bytes(c ^ mask[i % 4] for i, c in enumerate(payload)))

    def send(self, text):
        self.frame(0x81, text.encode())

    def recv(self):
        while True:
            try:
                first, size = self.connection.read(2).encode("latin-1")
            except OSError as error:
                raise Closed(error)
            if size == 126:
                size = struct.unpack("!H", self.connection.read(2).encode("latin-1"))[0]
            payload = self.connection.read(size).encode("latin-1")
            if first & 15 == 8:
                self.frame(0x88, payload)
                raise Closed(payload)
            if first & 15 == 1:
                return payload.decode()

    def close(self):
        self.connection.close()


class OldWebSocket:
    """hixie-76: the challenge must be answered rightly."""

    def __init__(self, url, on_close=None):
        where = urllib.parse.urlparse(url)
        self.connection = RawHttpConnection(url)
        self.connection.send_request("GET", "http:" + url.partition(":")[2], headers={
            "Connection": "Upgrade", "Upgrade": "WebSocket", "Origin": f"http://{where.netloc}",
            "Sec-WebSocket-Key1": "18x 6]8vM;54 *(5:  {   U1]8  z [  8",
            "Sec-WebSocket-Key2": "1_ tx7X d  <  nw  334J702) 7]o}` 0"})
        self.connection.send("Tm[K T2u")
        assert " 101 " in self.connection.line()
        while self.connection.line():
            pass
        assert self.connection.read(16) == "fQJ,fN/4F4!~K~MH"  # the example of the draft, 1.2

    def send(self, text):
        self.connection.send(b"\0" + text.encode() + b"\xff")

    def recv(self):
        first = self.connection.recv(1)
        if first in ("", "\xff"):
            return None
        text = self.connection.recv(1)
        while not text.endswith("\xff"):
            text += self.connection.read(1)
        return text[:-1].encode("latin-1").decode()

    def close(self):
        self.connection.close()


def module(name, **members):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(members)


def load(path):
    warnings.simplefilter("ignore")
    from lib2to3.refactor import RefactoringTool, get_fixers_from_package

    module("utils_03", GET=synchronous("GET"), POST=synchronous("POST"), OPTIONS=synchronous("OPTIONS"),
           GET_async=asynchronous("GET"), POST_async=asynchronous("POST"), old_POST_async=unanswered_post,
           WebSocket8Client=WebSocket8Client, RawHttpConnection=RawHttpConnection)
    module("websocket", create_connection=OldWebSocket, ConnectionClosedException=Closed)
    sys.modules["unittest2"] = unittest
    text = open(path, encoding="utf-8").read()
    if not text.endswith("\n"):
        text += "\n"
    converted = str(RefactoringTool(get_fixers_from_package("lib2to3.fixes")).refactor_string(text, path))
    suite = types.ModuleType("sockjs_protocol")
    exec(compile(converted, path, "exec"), suite.__dict__)
    return suite


if __name__ == "__main__":
    loader = unittest.TestLoader()
    suite = load(sys.argv[1])
    tests = loader.loadTestsFromNames(sys.argv[2:], suite) if len(sys.argv) > 2 else loader.loadTestsFromModule(suite)
    result = unittest.TextTestRunner(verbosity=1).run(tests)
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} of {result.testsRun} passed")
    sys.exit(failed > 0)
