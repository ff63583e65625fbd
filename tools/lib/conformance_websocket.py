"""Runs the cases of the Autobahn fuzzing client against one server, for tools/conformance.

    conformance_websocket.py FOLDER ws://HOST:PORT/PATH [CASE …]

FOLDER is a checkout of autobahn-testsuite. Its cases are for Python 2: they are converted as they are
loaded, and driven by Debian's python3-autobahn in place of the old release that they came with, which
takes bytes where they give text of one character a byte. CASE: the beginning of a number, "6.4".
Ends with 1 if a case failed; NON-STRICT counts as failed.
"""
import binascii, collections, importlib.abc, importlib.util, os, sys, time, traceback, types, warnings

warnings.simplefilter("ignore")
from lib2to3.refactor import RefactoringTool, get_fixers_from_package

suite = os.path.join(sys.argv[1], "autobahntestsuite", "autobahntestsuite")
# Only what the cases need of the two dozen fixers: all of them take a minute.
fixers = [f"lib2to3.fixes.fix_{name}" for name in (
    "dict", "except", "has_key", "import", "itertools", "map", "ne", "print", "raise", "unicode", "xrange", "zip")]
converter = RefactoringTool(fixers)
# What has other names since, and a base class that Python 3 wants in another place.
renamed = {
    "len(self.payload) / self": "len(self.payload) // self", "(object, Case, )": "(Case, )", "implements(interfaces.IPushProducer)": "pass",
    "requestNoContextTakeover =": "request_no_context_takeover =", "x.requestNoContextTakeover": "x.request_no_context_takeover",
    "requestMaxWindowBits =": "request_max_window_bits =", "x.requestMaxWindowBits": "x.request_max_window_bits",
    "acceptNoContextTakeover": "accept_no_context_takeover", "acceptMaxWindowBits": "accept_max_window_bits",
}


class Converting(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds autobahntestsuite.*, and converts it."""

    def find_spec(self, name, path, target=None):
        if not name.startswith("autobahntestsuite."):
            return None
        base = os.path.join(suite, *name.split(".")[1:])
        folder = os.path.isdir(base)
        file = os.path.join(base, "__init__.py") if folder else base + ".py"
        if not os.path.exists(file):
            return None
        return importlib.util.spec_from_file_location(
            name, file, loader=self, submodule_search_locations=[base] if folder else None)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        # By bytes: a literal was the bytes of its UTF-8.
        text = open(module.__file__, encoding="latin-1").read().rstrip() + "\n"
        for old, new in renamed.items():
            text = text.replace(old, new)
        exec(compile(str(converter.refactor_string(text, module.__file__)), module.__file__, "exec"), module.__dict__)


def as_bytes(value):
    return value.encode("latin-1") if isinstance(value, str) else bytes(value)


def prepare():
    """What the cases import behaves as it did for text that is bytes."""
    package = types.ModuleType("autobahntestsuite")
    package.__path__ = [suite]
    sys.modules["autobahntestsuite"] = package
    sys.meta_path.insert(0, Converting())
    hexlify = binascii.hexlify
    binascii.hexlify = binascii.b2a_hex = lambda data: hexlify(as_bytes(data)).decode()
    resources = types.ModuleType("pkg_resources")
    resources.resource_filename = lambda _, file: os.path.join(suite, file)
    sys.modules["pkg_resources"] = resources
    import autobahn.websocket.utf8validator as module

    class Validator(module.Utf8Validator):
        def validate(self, data):
            return super().validate(as_bytes(data))

    module.Utf8Validator = Validator


prepare()
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol, connectWS
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet import reactor
import autobahntestsuite.case as cases
from autobahntestsuite.case.case import Case


def plain(value):
    if isinstance(value, str):
        return value.encode("latin-1") if all(ord(c) < 256 for c in value) else value.encode()
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


Case.compare = lambda self, one, other: plain(one) == plain(other)


GOOD = {"OK", "INFORMATIONAL"}


def number(case):
    return ".".join(case.__name__[4:].split("_"))


class Protocol(WebSocketClientProtocol):
    """The client that cases speak through: their calls, and what they expect to be told."""

    def connectionMade(self):
        self.connectionWasOpen, self.createWirelog = False, True
        self.txFrameStats = collections.Counter()
        super().connectionMade()

    def enableWirelog(self, on):
        pass

    def sendFrame(self, opcode, payload=b"", **more):
        if isinstance(more.get("mask"), str):
            more["mask"] = as_bytes(more["mask"])
        self.txFrameStats[opcode] += 1
        super().sendFrame(opcode, payload=as_bytes(payload), **more)

    def sendMessage(self, payload, *more, **named):
        super().sendMessage(as_bytes(payload), *more, **named)

    def sendPing(self, payload=None):
        super().sendPing(None if payload is None else as_bytes(payload))

    def sendPong(self, payload=None):
        super().sendPong(None if payload is None else as_bytes(payload))

    def sendMessageFrameData(self, payload, *more, **named):
        return super().sendMessageFrameData(as_bytes(payload), *more, **named)

    def sendData(self, data, *more, **named):
        super().sendData(as_bytes(data), *more, **named)

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        super().sendCloseFrame(code, None if reasonUtf8 is None else as_bytes(reasonUtf8), isReply)

    def failConnection(self, *more):
        self._fail_connection(*more)

    def later(self, seconds, run):
        reactor.callLater(seconds, lambda: self.state != WebSocketProtocol.STATE_CLOSED and run())

    def continueLater(self, seconds, run, tag=None):
        self.later(seconds, run)

    def killAfter(self, seconds):
        self.later(seconds, self.failConnection)

    def closeAfter(self, seconds):
        self.later(seconds, self.sendClose)

    def guard(self, run, *arguments):
        try:
            run(*arguments)
        except Exception:
            self.factory.errors[self.number] = traceback.format_exc()
            self.transport.abortConnection()

    def onOpen(self):
        self.connectionWasOpen = True
        self.guard(self.runCase.onOpen)

    def onMessage(self, payload, binary):
        self.guard(self.runCase.onMessage, payload, binary)

    def onPing(self, payload):
        self.guard(self.runCase.onPing, payload)

    def onPong(self, payload):
        self.guard(self.runCase.onPong, payload)

    def onClose(self, *details):
        self.guard(self.runCase.onClose, *details)

    def connectionLost(self, reason):
        super().connectionLost(reason)
        self.guard(self.runCase.onConnectionLost, self.failedByMe)
        case = self.runCase
        result = (case.behavior, case.behaviorClose, case.result, case.resultClose)
        self.factory.results[self.number] = result
        done = len(self.factory.results)
        if not set(result[:2]) <= GOOD or done % 50 == 0:
            print(f"{done}: case {self.number} {' '.join(map(str, result))}", flush=True)


class Factory(WebSocketClientFactory):
    protocol = Protocol

    def __init__(self, url, chosen):
        super().__init__(url)
        self.chosen, self.at, self.results, self.errors = chosen, 0, {}, {}

    def buildProtocol(self, address):
        self.resetProtocolOptions()
        self.setProtocolOptions(failByDrop=False, openHandshakeTimeout=20)
        case = self.chosen[self.at]
        protocol = Protocol()
        protocol.factory, protocol.number = self, number(case)
        protocol.runCase = case(protocol)
        return protocol

    def clientConnectionLost(self, connector, reason):
        self.at += 1
        if self.at < len(self.chosen):
            connector.connect()
        else:
            reactor.stop()

    def clientConnectionFailed(self, connector, reason):
        print("cannot connect:", reason.getErrorMessage())
        reactor.stop()


def main():
    wanted = tuple(f"{prefix}." for prefix in sys.argv[3:])
    chosen = [case for case in cases.Cases if not wanted or (number(case) + ".").startswith(wanted)]
    began = time.time()
    factory = Factory(sys.argv[2], chosen)
    connectWS(factory)
    reactor.run()
    failed = [number(case) for case in chosen if number(case) not in factory.results or number(case) in factory.errors
              or not set(factory.results[number(case)][:2]) <= GOOD]
    for name in failed:
        print(f"case {name}: {factory.results.get(name, 'did not run')}", factory.errors.get(name, ""))
    print("behaviour:", dict(collections.Counter(result[0] for result in factory.results.values())),
          "closing:", dict(collections.Counter(result[1] for result in factory.results.values())),
          f"{time.time() - began:.0f} s")
    print(f"{len(chosen) - len(failed)} of {len(chosen)} passed")
    sys.exit(len(failed) > 0)


main()
