"""The entry point: a command line becomes a request to the shared server, or a run of `cli` in this process.

Loading it is most of what a short command costs: it imports nothing of ours but what imports nothing itself, and of
the standard library only what is needed at the time. It knows a few flags of `COMMANDS`; any other command line goes
to `cli` as it is. A server answers only where it would say what this process would: its version, its configuration
file and the settings in its environment are the same. Where none can, this process does the work, and `-v` says why.
"""

from __future__ import annotations

import os
import sys

from . import __version__, render
from .meeting import EXCLUDING, configuration, data_folder, is_private, load, own_settings, socket_path

TYPE_CHECKING = False  # typing takes as long to load as all of this
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn

HANDSHAKE_TIMEOUT = 10.0  # seconds; a server that is slower to say its name than we to do the work is of no use
START_TIMEOUT = 30.0  # seconds until a server that was started must answer
SLOW = 1.0  # seconds after which the user is told what takes so long
STDIN_LIMIT = 200_000  # characters, as in cli/terminal.py
SERVE = ("-m", "ragmacs_srv", "serve", "--detach")  # starts a server, and ends when that answers
TOKEN = 1  # of what is streamed to us: a connection asks for one thing at a time
SHUT = -32600  # the code of a server that ends and takes no more requests: ours are never malformed
GONE_HINT = "try again; --no-server works without one"
# Which users export for good; the rest is set for one command.
KEYS = {"RAGMACS_LLM_KEY", "RAGMACS_EMBED_KEY", "RAGMACS_STACKEXCHANGE_KEY"}
XDG = {"XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"}

COMMON = {
    "--home": "home",
    "--json": "json",
    "--no-server": "no_server",
    "-q": "quiet",
    "--quiet": "quiet",
    "-v": "verbose",
    "--verbose": "verbose",
}
SCOPE = {"-c": "collection", "--collection": "collection"}
# What each command takes: how many words, and which flags.
COMMANDS = {
    "ask": (1, {**COMMON, **SCOPE}),
    "search": (1, {**COMMON, **SCOPE, "-n": "limit", "--limit": "limit"}),
    "status": (0, COMMON),
    "tool": (2, COMMON),
}
QUESTIONS = {"ask", "search"}  # whose words need no quotation marks
TOOLS = {"search_docs", "ask_docs", "list_collections"}  # those that no person has to be asked about
SWITCHES = {"json", "no_server", "quiet", "verbose"}  # the flags without a value


class Command:
    """A command line that was understood."""

    def __init__(self, name: str, words: Sequence[str], flags: Mapping[str, list[str]]) -> None:
        self.name = name
        self.words = words
        self.home = flags.get("home", [""])[-1]
        self.collections = flags.get("collection", [])
        self.limit = int(flags.get("limit", ["8"])[-1])
        self.json = "json" in flags
        self.no_server = "no_server" in flags
        self.quiet = "quiet" in flags
        self.verbose = "verbose" in flags

    def text(self) -> str:
        """The last word, or what stdin has; it can be had again, also by `cli`."""
        text = self.words[-1]
        if text == "-":
            import io

            try:
                text = sys.stdin.read(STDIN_LIMIT)
            except UnicodeDecodeError as exc:
                raise Failure(-32602, f"stdin is no text: {exc}", "give it as UTF-8", 2) from None
            sys.stdin = io.StringIO(text)
        return text.encode("utf-8", "replace").decode()  # no half characters: they cannot be sent on


class Unserved(Exception):
    """No server can do it, and nothing has been done or printed: this process can."""


class Gone(Exception):
    """The server went away, was about to, or said what is none of our protocol, before it had answered."""


class Silent(Gone):
    """The server has not answered in time."""


class Failure(Exception):
    """A JSON-RPC error, or one of our own that is shown in the same way."""

    def __init__(self, code: int, message: str, hint: str = "", exit_code: int = 70, *, text: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
        self.text = text  # what people read in place of message and hint


def main() -> None:
    """Do what the command line says, by the server or in this process; Ctrl-C is one line from the first moment on."""
    try:
        code = run(sys.argv[1:], os.environ)
        if code is not None:
            _leave(code)
        from .start import main as in_process  # it sees to Ctrl-C itself
    except KeyboardInterrupt:
        os.write(2, b"ragmacs: cancelled\n")
        os._exit(130)
    in_process()


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int | None:
    """Do what ARGV says through the server; returns the exit code, or None when it is for this process to do."""
    command = parse(argv)
    if command is None:
        if argv and argv[0] in COMMANDS and {"-v", "--verbose"} & set(argv):
            _in_process("this command line is none for a server")
        return None
    if command.home:
        environ = {**environ, "RAGMACS_HOME": command.home}
    try:
        if why := "--no-server" if command.no_server else _own_folders(environ):
            raise Unserved(why)
        return _through_server(command, environ)
    except Unserved as exc:
        if command.verbose:
            _in_process(str(exc))
        return None


def parse(argv: Sequence[str]) -> Command | None:
    """ARGV as a Command, or None for all that is not known to the letter: `cli` has the words for it."""
    if not argv or argv[0] not in COMMANDS:
        return None
    wanted, known = COMMANDS[argv[0]]
    words: list[str] = []
    flags: dict[str, list[str]] = {}
    rest = iter(argv[1:])
    for each in rest:
        if each == "-" or not each.startswith("-") or (argv[0] in QUESTIONS and each.startswith(EXCLUDING)):
            words.append(each)
            continue
        flag, equals, value = each.partition("=") if each.startswith("--") else (each, "", "")
        key = known.get(flag)
        if key is None or (key in SWITCHES and equals):
            return None
        if key not in SWITCHES and not equals:
            value = next(rest, "-")
            if value.startswith("-"):
                return None
        flags.setdefault(key, []).append(value)
    if argv[0] in QUESTIONS and words:
        words = [" ".join(words)]
    limit = flags.get("limit", ["8"])[-1]
    sound = limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= 100
    if not sound or len(words) != wanted or (argv[0] == "tool" and words[0] not in TOOLS):
        return None
    return Command(argv[0], words, flags)


def _own_folders(environ: Mapping[str, str]) -> str:
    """Why a server cannot have the folders of this process, or ""."""
    relative = (name for name in sorted(XDG) if environ.get(name) and not environ[name].startswith("/"))
    return next((f"{name} is relative, and a server has a folder of its own" for name in relative), "")


# What the server does for each command


def _through_server(command: Command, environ: Mapping[str, str]) -> int:
    """Have the server do COMMAND and print what it says; returns the exit code. Raises Unserved."""
    _printing_anything()
    path = socket_path(data_folder(environ), environ)
    try:
        for last in (False, True):
            peer = connect(path, environ, command)
            try:
                PRINT[command.name](peer, command)
                break
            except Gone as exc:
                if command.name not in REPEATABLE:
                    raise Failure(-32603, f"the server ended before it had answered: {exc}", GONE_HINT) from None
                if last:
                    raise Unserved(f"the server ended twice before it had answered: {exc}") from None
            except KeyboardInterrupt:
                peer.cancel()
                raise Failure(-32800, "cancelled", "what was finished is kept", 130) from None
            finally:
                peer.close()
    except Failure as exc:
        return _failed(command, exc)
    except BrokenPipeError:  # `ragmacs … | head`
        return _closed()
    except OSError as exc:  # stdout is full or gone
        hint = "free some disk space"
        return _failed(command, Failure(-32013, f"the output cannot be written: {exc.strerror}", hint, 74))
    if command.verbose:
        _say(f"ragmacs: the server at {path} answered")
    return 0


def _search(peer: Peer, command: Command) -> None:
    params = {"query": command.text(), "k": command.limit, "collections": command.collections}
    found = peer.call("search", params)
    _print(render.dumps(found) if command.json else render.printable(render.results(found)))
    for note in render.result_notes(found):
        _say(note)


def _ask(peer: Peer, command: Command) -> None:
    params = {"question": command.text(), "collections": command.collections}
    if command.json:
        _print(render.dumps(peer.call("ask", params)))
        return
    answer = peer.call("ask", {**params, "token": TOKEN}, delta=lambda text: _print(render.printable(text), end=""))
    _print(render.printable(render.citations(answer)))
    for note in render.answer_notes(answer):
        _say(note)


def _status(peer: Peer, command: Command) -> None:
    state = peer.call("server/status", {})
    _print(render.dumps(state) if command.json else render.printable(render.status(state)))


def _tool(peer: Peer, command: Command) -> None:
    from json import loads

    try:
        arguments = loads(command.text())
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise Unserved("the arguments are no JSON object")
    said = peer.call("tools/call", {"name": command.words[0], "arguments": arguments})
    if said.get("error"):
        error = said["data"]["error"]
        raise Failure(error["code"], error["message"], error["hint"], error["exit_code"], text=said["text"])
    _print(
        render.dumps({"text": said["text"], "data": said["data"]}) if command.json else render.printable(said["text"])
    )


PRINT = {"ask": _ask, "search": _search, "status": _status, "tool": _tool}
REPEATABLE = {"search", "status"}  # cheap, silent until they are done


# The server


class Peer:
    """A connection to the server. Calls raise Gone where it ends, Failure where the server says no."""

    def __init__(self, path: str) -> None:
        """Connect to the socket at PATH; raises OSError."""
        socket = load("_socket", "socket")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._buffer = b""
        self._id = 0
        try:
            self._socket.connect(path)
        except BaseException:
            self._socket.close()
            raise

    def call(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        delta: Callable[[str], None] = lambda text: None,
        timeout: float | None = None,
    ) -> Any:
        """The result of METHOD; DELTA gets what is streamed. Silence for TIMEOUT seconds is as good as an end."""
        self._id += 1
        self._socket.settimeout(timeout)
        self._send({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})
        while True:
            message = self._message()
            if message.get("id") == self._id and "method" not in message:
                break
            if message.get("method") == "$/delta":
                delta(str(message["params"]["text"]))
        if "error" not in message:
            return message["result"]
        error = message["error"]
        if error["code"] == SHUT:
            raise Gone(error["message"])
        data = error.get("data") or {}
        raise Failure(error["code"], error["message"], data.get("hint", ""), data.get("exit_code", 70))

    def cancel(self) -> None:
        """Tell the server that nobody waits for what was called last."""
        self._socket.settimeout(1.0)
        try:
            self._send({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": self._id}})
        except Gone:
            return

    def stop(self) -> None:
        """Have the server end; returns when it has let go of us."""
        try:
            self.call("server/stop", {}, timeout=HANDSHAKE_TIMEOUT)
            while True:
                self._message()
        except (Gone, Failure):
            return

    def close(self) -> None:
        self._socket.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        from json import dumps

        body = dumps(message).encode()
        try:
            self._socket.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        except OSError as exc:
            raise Gone(exc.strerror or str(exc)) from None

    def _message(self) -> Any:
        """The next message of the server."""
        from json import loads

        try:
            head, _, self._buffer = self._until(lambda: b"\r\n\r\n" in self._buffer).partition(b"\r\n\r\n")
            length = int(head.partition(b":")[2])
            body, self._buffer = self._until(lambda: len(self._buffer) >= length)[:length], self._buffer[length:]
            message = loads(body)
            if not isinstance(message, dict):
                raise ValueError(message)
            return message
        except TimeoutError:
            raise Silent("it is silent") from None
        except OSError as exc:
            raise Gone(exc.strerror or str(exc)) from None
        except ValueError:
            raise Gone("what it said is no message") from None

    def _until(self, whole: Callable[[], bool]) -> bytes:
        """The bytes received so far, once they are WHOLE."""
        while not whole():
            received = self._socket.recv(65536)
            if not received:
                raise Gone("the connection is closed")
            self._buffer += received
        return self._buffer


def connect(path: str, environ: Mapping[str, str], command: Command) -> Peer:
    """A connection to the server at PATH, with our version and settings, started if need be; raises Unserved."""
    peer = _reach(path) or start(path, environ, command)
    try:
        found, why = _greeted(peer, path, environ)
        if why:
            if command.name == "status":  # who only looks ends nothing
                raise Unserved(why)
            peer.stop()
            peer.close()
            peer = start(path, environ, command)
            _, why = _greeted(peer, path, environ)
            if why:
                raise Unserved(f"{why}, also after a new start")
            _open_http(peer, str(found.get("server", {}).get("http")))
    except Unserved:
        peer.close()
        raise
    return peer


def _greeted(peer: Peer, path: str, environ: Mapping[str, str]) -> tuple[Any, str]:
    """(the server's greeting, why it should be started anew or ""); raises Unserved where it is not ours to end."""
    try:
        found = peer.call("initialize", {"client": "ragmacs", "version": __version__}, timeout=HANDSHAKE_TIMEOUT)
        if found["version"] != __version__:
            why = f"the server at {path} is of version {found['version']}"
        elif (theirs := found["configuration"]) == (ours := configuration(environ)):
            return found, ""
        elif theirs["environ"] != ours["environ"]:
            raise Unserved(f"the server at {path} has other settings in its environment")
        else:
            why = f"the server at {path} has read another configuration"
        queue = found.get("server", {}).get("queue", {})  # another version may say it otherwise
        if any(lane["running"] for lane in queue.values()):
            raise Unserved(f"{why}, and is at work")
    except (Silent, Failure, LookupError, TypeError, AttributeError) as exc:
        raise Unserved(f"the server at {path} does not answer: {exc}") from None
    except Gone as exc:  # it was about to end
        return {}, f"the server at {path} does not answer: {exc}"
    return found, why


def _open_http(peer: Peer, address: str) -> None:
    """Have the server listen at ADDRESS, as the one that it replaces did, if that did."""
    port = address.rpartition(":")[2]
    if port.isdigit():
        try:
            peer.call("server/http", {"port": int(port)}, timeout=HANDSHAKE_TIMEOUT)
        except (Gone, Failure) as exc:
            _say(f"note: nothing listens at {address} any more: {exc}")


def start(path: str, environ: Mapping[str, str], command: Command) -> Peer:
    """Start a server that outlives us and connect to it; raises Unserved."""
    if command.name == "status":
        raise Unserved("no server is running")
    if passing := [name for name in own_settings(environ) if name not in KEYS]:
        raise Unserved(f"{passing[0]} is set, and a server would keep it")
    import subprocess
    import time

    try:
        launcher = subprocess.Popen(
            [sys.executable, *SERVE],
            cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),  # `-m` looks here first
            env={**environ, **({"RAGMACS_HOME": data_folder(environ)} if environ.get("RAGMACS_HOME") else {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us
        )
    except OSError as exc:
        raise Unserved(f"no server can be started: {exc.strerror}") from None
    began, told = time.monotonic(), command.quiet or command.json
    while (waited := time.monotonic() - began) < START_TIMEOUT:
        ended = launcher.poll()
        if peer := _reach(path):
            launcher.terminate()  # one that is late would start another server after the end of this one
            launcher.wait()
            return peer
        if ended:
            raise Unserved(f"no server can be started (exit code {ended}); ragmacs serve says why")
        if waited > SLOW and not told:
            _say("ragmacs: the server starts…")
            told = True
        time.sleep(0.01)
    raise Unserved(f"the server did not answer for {START_TIMEOUT:.0f} seconds")


def _reach(path: str) -> Peer | None:
    """A connection to whoever listens at PATH, if it can only be us; raises Unserved where it could be another."""
    folder = os.path.dirname(path)
    if not os.path.lexists(folder):
        return None
    if not is_private(folder):
        raise Unserved(f"{folder} is not a folder of yours alone; chmod 700 it if it should be")
    try:
        return Peer(path)
    except OSError:  # nobody listens
        return None


# Speaking


def _printing_anything() -> None:
    """Have half characters printed as question marks."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")


def _print(text: str, end: str = "\n") -> None:
    print(text, end=end, flush=True)


def _say(text: str) -> None:
    print(render.printable(text), file=sys.stderr)


def _in_process(why: str) -> None:
    _say(f"ragmacs: working in this process: {why}")


def _failed(command: Command, exc: Failure) -> int:
    whole = exc.text if exc.text and not command.json else ""
    _say(whole or render.failure(exc.code, exc.message, exc.hint, as_json=command.json))
    return exc.exit_code


def _closed() -> int:
    """Nobody reads our output any more; Python shall not complain of that at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _leave(code: int) -> NoReturn:
    """End at once: tidying up costs as much as the work."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
