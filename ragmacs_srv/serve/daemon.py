"""The one shared server of a home: found, started when none runs, stopped, and relayed to."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from .. import __version__, meeting, render
from ..errors import Busy, RagmacsError
from ..search.database import claimed, mapped
from ..settings import folders
from .framing import Broken, Frames, frame, parse
from .place import Place, holder, private, turn_of
from .stdio import guarded

START_S = 60.0  # a cold start on a slow disk
STOP_S = 6.0
BIND_S = 2.0
ANSWER_S = 10.0
LOG_BYTES = 2**20  # a longer log begins anew with the next server
PACKAGE = str(__package__).partition(".")[0]


def status(where: Place) -> dict[str, Any] | None:
    """What the server at WHERE says of itself, or None when none answers."""
    if meeting.is_private(str(where.path.parent)):
        with suppress(OSError, Broken, ValueError), _connected(where.path) as sock:
            return _asked(sock, "initialize")
    return None


def reach(where: Place) -> dict[str, Any]:
    """The status of a server of our version and configuration at WHERE; one is started when there is none.

    One of another configuration that is at work is left alone. Of those who find none at the same time, one starts
    it. Raises RagmacsError when it does not come up.
    """
    private(where.path.parent)
    ended: list[dict[str, Any]] = []  # what was said by the one that was replaced
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        found = status(where)
        if found and found["server"]["version"] == __version__ and (ended or not _outdated(found, where)):
            return _on_http_again(where, found, ended)
        if found:
            ended.append(found)
            stop(where)
        elif holder(where.path) and not _appears(where.path):
            stop(where)  # a cleaner of /tmp has taken its socket: nobody can ask it anything
        elif holder(where.path) or (turn := claimed(turn_of(where.path))) is None:
            time.sleep(0.05)  # another starts it
        else:
            try:
                if not holder(where.path):
                    _start(where)
            finally:
                os.close(turn)
    pid = holder(where.path)
    message = f"the server (pid {pid}) does not answer" if pid else f"no server came up at {where.path}"
    raise RagmacsError(message, hint=f"ragmacs serve --stop; {where.log} may say why")


def _outdated(found: Mapping[str, Any], where: Place) -> bool:
    """Whether a server that said FOUND has read another configuration file, and can be ended for it."""
    ours = meeting.configuration(where.environ)
    idle = not any(lane["running"] for lane in found["server"]["queue"].values())
    return idle and found["configuration"]["file"] != ours["file"]


def _on_http_again(where: Place, found: dict[str, Any], ended: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """FOUND, of a server that listens where those that were ENDED for it did."""
    port = next((each["server"].get("http", "").rpartition(":")[2] for each in ended), "")
    if port and not found["server"]["http"]:
        with suppress(Busy):  # another program was faster
            open_http(where, int(port))
        return status(where) or found
    return found


def open_http(where: Place, port: int | None) -> dict[str, str]:
    """Have the server at WHERE listen on HTTP, too: `{address, token_file}`; raises Busy when it cannot."""
    params = {} if port is None else {"port": port}
    try:
        with _connected(where.path) as sock:
            return _asked(sock, "server/http", params)
    except (OSError, Broken, ValueError) as exc:
        hint = (isinstance(exc, _Refused) and exc.hint) or f"see {where.log}"
        raise Busy(f"the server does not listen there: {exc}", hint=hint) from exc


def stop(where: Place) -> bool:
    """End the server at WHERE and wait until it is gone; False when there was none. Raises Busy when it will not."""
    private(where.path.parent)  # what anybody could write there is no pid to end
    pid = holder(where.path)
    if not pid:
        return False
    told = False
    with suppress(OSError, Broken, ValueError), _connected(where.path) as sock:
        told = bool(_asked(sock, "server/stop"))
    if not (told and _gone(where.path)) and holder(where.path) == pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        if not _gone(where.path):
            raise Busy(f"the server (pid {pid}) does not end", hint=f"kill -9 {pid}")
    return True


def announce(ready: int) -> None:
    """Tell the process that started this one, by the descriptor READY, that we listen; -1: nobody wants to know."""
    if ready >= 0:
        with suppress(OSError):  # it did not wait
            os.write(ready, b"1")
            os.close(ready)


def main(flag: str) -> int:
    """`ragmacs serve` with only FLAG, as Emacs and the shell start it: without all that the command line would load."""
    try:
        where = Place.of(folders(os.environ), os.environ)
        if flag == "--stdio":
            return relay(where, *guarded())
        sys.stdout.write(serving(reach(where)["server"]) + "\n")
    except RagmacsError as exc:
        sys.stderr.write(render.failure(exc.code, exc.message, exc.hint, as_json=False) + "\n")
        return exc.exit_code
    return 0


def serving(server: Mapping[str, Any]) -> str:
    """Where SERVER is, of whose status that is a part."""
    return f"serving at {server['socket']} (pid {server['pid']})"


def relay(where: Place, source: int, sink: int) -> int:
    """Carry bytes between two descriptors and the shared server, until either side has no more; the exit code."""
    reach(where)
    sock = _connected(where.path)
    sock.settimeout(None)
    threading.Thread(target=_carry_in, args=(source, sock), name="ragmacs-relay", daemon=True).start()
    try:
        while data := sock.recv(2**16):
            _write_all(sink, data)
    except OSError:  # either side is gone
        return 1
    return 0


def unit(environ: Mapping[str, str]) -> str:
    """A systemd user unit that keeps a server running for the home of ENVIRON."""
    return (
        "[Unit]\nDescription=ragmacs, a local documentation assistant\n\n"
        f"[Service]\n{_home(environ)}Environment=RAGMACS_SERVE_IDLE_MINUTES=0\nExecStart={_command('serve')}\n"
        "Restart=on-failure\nNice=5\n\n[Install]\nWantedBy=default.target\n"
    )


def update_unit(environ: Mapping[str, str]) -> str:
    """A systemd user unit that updates the collections in the home of ENVIRON, once each time it is started."""
    return (
        "[Unit]\nDescription=ragmacs reads again what has changed\n\n"
        f"[Service]\nType=oneshot\n{_home(environ)}ExecStart={_command('update')}\n"
        # some pages could not be read, none could (there is no network), somebody else is writing: the next time, then
        "SuccessExitStatus=1 4 75\nNice=10\n"
    )


TIMER = (
    "[Unit]\nDescription=ragmacs reads again what has changed, once a week\n\n"
    "[Timer]\nOnCalendar=weekly\nRandomizedDelaySec=6h\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n"
)
ENABLE = ("systemctl --user daemon-reload", "systemctl --user enable --now ragmacs-update.timer")


def schedule(environ: Mapping[str, str]) -> str:
    """A script for sh that has systemd update the collections in the home of ENVIRON once a week."""
    folder = '"${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user'
    files = (("service", update_unit(environ)), ("timer", TIMER))
    made = [f"cat > {folder}/ragmacs-update.{kind}\" <<'END'\n{text}END\n" for kind, text in files]
    return f'mkdir -p {folder}"\n' + "".join(made) + "\n".join(ENABLE)


def _home(environ: Mapping[str, str]) -> str:
    own = environ.get("RAGMACS_HOME")
    return f"Environment={_quoted('RAGMACS_HOME=' + meeting.data_folder(environ))}\n" if own else ""


def _command(verb: str) -> str:
    return " ".join(_quoted(word) for word in (sys.executable, "-m", PACKAGE, verb))


def _quoted(word: str) -> str:
    """WORD as systemd reads it back."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def _connected(path: Path) -> socket.socket:
    """A connection to the socket at PATH; raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(ANSWER_S)
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    return sock


class _Refused(ValueError):
    """The server said no, and perhaps what to do instead."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error["message"])
        self.hint = error.get("data", {}).get("hint", "")


def _asked(sock: socket.socket, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The result of METHOD; raises OSError, Broken or ValueError when none comes."""
    sock.sendall(frame({"jsonrpc": "2.0", "id": 1, "method": method, "params": dict(params or {})}))
    frames = Frames()
    while data := sock.recv(2**16):
        for body in frames.feed(data):
            reply = parse(body)
            if "result" not in reply:
                raise _Refused(reply["error"])
            return dict(reply["result"])
    raise ConnectionError("the server hung up")


def _appears(path: Path) -> bool:
    """Wait for the socket at PATH, which a server makes as soon as it has its lock; whether it is there."""
    deadline = time.monotonic() + BIND_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return path.exists()


def _gone(path: Path) -> bool:
    """Wait until the server at PATH has let its lock go; whether it has."""
    deadline = time.monotonic() + STOP_S
    while holder(path) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not holder(path)


def _start(where: Place) -> None:
    """Start a server that outlives this process, and wait until it listens or has ended."""
    came, ready = os.pipe()
    command = [sys.executable, "-m", PACKAGE, "serve", "--socket", str(where.path), "--ready", str(ready)]
    try:
        with _log(where.log) as log:
            subprocess.run(
                ["sh", "-c", '"$@" &', "sh", *command],  # nobody's child: it is not ours to wait for
                cwd=Path(__file__).parents[2],  # `-m` looks here first
                env=dict(where.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[ready],
            )
    finally:
        os.close(ready)
    try:
        listening = select.select([came], [], [], START_S)[0] and os.read(came, 1)
    finally:
        os.close(came)
    if not listening and not holder(where.path):  # when there is one, another was faster
        last = where.log.read_text("utf-8", "replace").strip().splitlines()[-2:]
        raise RagmacsError("the server did not start: " + " ".join(last), hint=f"see {where.log}")


def _log(path: Path) -> BinaryIO:
    """The log at PATH, to append to; begun anew when it has become long."""
    with mapped(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab" if path.exists() and path.stat().st_size < LOG_BYTES else "wb")


def _carry_in(source: int, sock: socket.socket) -> None:
    with suppress(OSError):  # the other direction ends, too, and says so
        while data := os.read(source, 2**16):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)


def _write_all(sink: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(sink, view) :]
