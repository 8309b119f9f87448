"""A request about Go source becomes the reply of our own Go program, built once for each toolchain.

Sizes are computed by the toolchain's own importer and go/types: a binary built by another reads what it can of newer
export data and computes nonsense from it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final

from ..errors import ToolchainError, ToolchainFailed, ToolchainMissing, TypeNotFound
from ..events import Cancel, Progress, Sink, ignore
from . import toolchain
from .toolchain import HERE, Target, Toolchain

BUILD_TIME: Final = 300.0  # seconds: an empty build cache means compiling a part of the standard library
CALL_TIME: Final = 180.0  # seconds: what a package imports may have to be compiled, too
JOB: Final = "go helper"
KINDS: Final[Mapping[str, type[ToolchainError]]] = {
    "go_missing": ToolchainMissing,
    "go_too_old": ToolchainMissing,
    "unknown_type": TypeNotFound,
    "not_struct": TypeNotFound,
    "generic": TypeNotFound,
}


def ask(
    go: Toolchain,
    request: Mapping[str, Any],
    *,
    cwd: Path,
    cache: Path,
    cancel: Cancel,
    target: Target = HERE,
    overlay: Mapping[Path, str] | None = None,
    sink: Sink = ignore,
) -> dict[str, Any]:
    """The answer to REQUEST (its `op`, and what that needs) about a package in CWD, with OVERLAY in place of files.

    Builds the program in CACHE first if need be. Raises ToolchainMissing, TypeNotFound or ToolchainFailed, whose
    `data` has the `kind` and what else the program said.
    """
    program = built(go, cache, cancel=cancel, sink=sink)
    with toolchain.overlaid(overlay or {}) as (file, names):
        asked = {
            "go": str(go.program),
            "dir": str(cwd),
            "overlay": file,
            "files": {str(path): text for path, text in (overlay or {}).items()},
            "tags": ",".join(target.tags),
            "goarch": target.goarch,
            **request,
        }
        environ = toolchain.environment(go, target)
        sent = json.dumps(asked).encode()
        output = toolchain.started(
            [str(program)], cwd=cwd, environ=environ, cancel=cancel, seconds=CALL_TIME, stdin=sent
        )
    reply = _reply(names.restored(output))
    if "error" in reply:
        raise _failure(reply["error"])
    answer: dict[str, Any] = reply["answer"]
    return answer


def _reply(output: toolchain.Output) -> dict[str, Any]:
    try:
        reply: dict[str, Any] = json.loads(output.stdout)
    except ValueError as exc:
        message = f"the Go helper ended with status {output.code} and no answer"
        raise toolchain.error(output, "internal", message, "ragmacs doctor --warm builds it anew") from exc
    return reply


def _failure(said: Mapping[str, Any]) -> ToolchainError:
    kind = KINDS.get(said["kind"], ToolchainFailed)
    return kind(said["message"], hint=said["hint"], data={"kind": said["kind"], **(said.get("more") or {})})


# Building it


def built(go: Toolchain, cache: Path, *, cancel: Cancel, sink: Sink = ignore) -> Path:
    """The program for the toolchain GO, in CACHE; made if it is not there, while others who want it wait.

    Raises ToolchainFailed with what the compiler said.
    """
    sources = _sources()
    made = cache / f"{go.version}-{_digest(go, sources)}" / "helper"
    if made.exists():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    with _alone(made.parent / "lock"):
        if not made.exists():
            sink(Progress(JOB, 0, 1, f"building it with {go.version}, once: a minute where nothing is compiled yet"))
            _build(go, sources, made, cancel)
            sink(Progress(JOB, 1, 1, "built"))
    return made


def forget(go: Toolchain, cache: Path) -> None:
    """Remove the program for GO, so that the next call builds it."""
    shutil.rmtree(cache / f"{go.version}-{_digest(go, _sources())}", ignore_errors=True)


def _build(go: Toolchain, sources: Mapping[str, bytes], made: Path, cancel: Cancel) -> None:
    with tempfile.TemporaryDirectory(prefix="ragmacs-helper-") as folder:
        for name, text in sources.items():
            Path(folder, name).write_bytes(text)
        part = made.with_name("part")
        arguments = ["build", "-trimpath", "-o", str(part), "."]
        output = toolchain.run(go, arguments, cwd=Path(folder), cancel=cancel, seconds=BUILD_TIME)
    if output.code:
        message = f"{go.version} cannot build the Go helper: {output.stderr.strip()[-500:]}"
        raise toolchain.error(output, "helper_build_failed", message, "is GOCACHE writable, and the disk not full?")
    part.replace(made)


def _sources() -> dict[str, bytes]:
    """The program's files by name."""
    folder = resources.files(__package__) / "helper"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name.endswith((".go", "go.mod"))}


def _digest(go: Toolchain, sources: Mapping[str, bytes]) -> str:
    """A name for what GO makes of SOURCES; two toolchains of one version are told apart by where they are."""
    digest = hashlib.sha256(str(go.goroot).encode())
    for name, text in sorted(sources.items()):
        digest.update(name.encode() + b"\0" + text + b"\0")
    return digest.hexdigest()[:16]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
