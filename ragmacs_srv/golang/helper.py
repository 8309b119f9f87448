"""A request about Go source becomes the reply of our own Go program, built once for each toolchain.

Sizes are computed by the toolchain's own importer and go/types: a binary built by another reads what it can of newer
export data and computes nonsense from it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from ..errors import AddressRefused, RagmacsError, ToolchainFailed, ToolchainMissing, TypeNotFound
from ..events import Cancel, Progress
from ..processes import Output
from ..settings import nearest
from . import toolchain
from .toolchain import Toolchain
from .workshop import Place, Workshop, placed

BUILD_TIME: Final = 300.0  # seconds: an empty build cache means compiling a part of the standard library
CALL_TIME: Final = 180.0  # seconds: what a package imports may have to be compiled, too
JOB: Final = "go helper"
KINDS: Final[Mapping[str, type[RagmacsError]]] = {
    "outside": AddressRefused,
    "go_missing": ToolchainMissing,
    "go_too_old": ToolchainMissing,
    "unknown_type": TypeNotFound,
    "not_struct": TypeNotFound,
    "generic": TypeNotFound,
}


def ask(shop: Workshop, place: Place, request: Mapping[str, Any]) -> tuple[Any, Toolchain]:
    """The answer to REQUEST (its `op`, and what that needs) about a package at PLACE, and who gave it.

    Builds the program first if need be. Raises ToolchainMissing, TypeNotFound or ToolchainFailed, whose `data` has
    the `kind` and what else the program said; and Cancelled.
    """
    go = shop.find()
    program = built(go, shop)
    with toolchain.overlaid(place.overlay) as (file, names):
        asked = {
            "go": str(go.program),
            "dir": str(place.folder),
            "overlay": file,
            "files": {str(path): text for path, text in place.overlay.items()},
            "tags": ",".join(place.target.tags),
            "goarch": place.target.goarch,
            "roots": [str(each.resolve()) for each in (place.folder, *shop.roots)],
            **request,
        }
        output = toolchain.started(
            [str(program)],
            cwd=place.folder,
            environ=toolchain.environment(go, place.target),
            cancel=shop.cancel,
            seconds=CALL_TIME,
            stdin=json.dumps(asked).encode(),
        )
    reply = _reply(names.restored(output, place.folder))
    if "error" in reply:
        raise _failure(reply["error"])
    return reply["answer"], go


def _reply(output: Output) -> dict[str, Any]:
    try:
        reply: dict[str, Any] = json.loads(output.stdout)
    except ValueError as exc:
        message = f"the Go helper ended with status {output.code} and no answer"
        raise toolchain.error(output, "internal", message, "ragmacs doctor --warm builds it anew") from exc
    return reply


def _failure(said: Mapping[str, Any]) -> RagmacsError:
    kind, more = KINDS.get(said["kind"], ToolchainFailed), said.get("more") or {}
    hint = said["hint"] or (nearest(more["name"], more["known"]) if more.get("known") else "")
    return kind(said["message"], hint=hint, data={"kind": said["kind"], **more})


# Building it


def built(go: Toolchain, shop: Workshop) -> Path:
    """The program for the toolchain GO, in the cache; made if it is not there, while others who want it wait.

    Raises ToolchainFailed with what the compiler said, and Cancelled.
    """
    sources = _sources()
    made = _program(go, shop.cache, sources)
    if made.exists():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    with _alone(made.parent / "lock", shop.cancel):
        if not made.exists():
            said = f"building it with {go.version}, once: a minute where nothing is compiled yet"
            shop.sink(Progress(JOB, 0, 1, said))
            _build(go, sources, made, shop.cancel)
            shop.sink(Progress(JOB, 1, 1, "built"))
    return made


def is_built(go: Toolchain, cache: Path) -> bool:
    """Whether CACHE has the program for the toolchain GO."""
    return _program(go, cache, _sources()).exists()


def warm(shop: Workshop) -> Path:
    """The program for the user's toolchain, built if need be, and anew if it does not answer; raises as `ask` does."""
    go = shop.find()
    program = built(go, shop)
    with placed(replace(shop, roots=())) as place:
        try:
            ask(shop, place, {"op": "layout", "package": "errors", "type": "errorString"})
        except ToolchainFailed as exc:
            if exc.data.get("kind") != "internal":
                raise
            program.unlink(missing_ok=True)
            ask(shop, place, {"op": "layout", "package": "errors", "type": "errorString"})
    return program


def stamp(go: Toolchain) -> str:
    """A name for the program with the toolchain GO: what answers alike has the same."""
    return _stamp(go, _sources())


def _stamp(go: Toolchain, sources: Mapping[str, bytes]) -> str:
    return f"{go.version}-{_digest(go, sources)}"


def _program(go: Toolchain, cache: Path, sources: Mapping[str, bytes]) -> Path:
    return cache / _stamp(go, sources) / "helper"


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
def _alone(path: Path, cancel: Cancel) -> Iterator[None]:
    """Hold the lock at PATH; raises Cancelled while waiting for it."""
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                cancel.wait(0.1)
        yield
