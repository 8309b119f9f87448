"""What is set and installed becomes rows of what works on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import (
    EmbedderMissing,
    ToolchainMissing,
)
from .golang import helper
from .holdings import Holdings


def diagnose(app: Holdings) -> list[dict[str, Any]]:
    """What works on this machine: a row {what, ok, found} per part, folders with their size first."""
    return [{"what": what, "ok": ok, "found": found} for what, ok, found in _diagnosis(app)]


def _diagnosis(app: Holdings) -> Iterator[tuple[str, bool, str]]:
    where = app.settings.folders
    for what, path in (("config", where.config), ("data", where.data), ("cache", where.cache)):
        yield f"{what} folder", True, f"{path} ({_size(path)})"
    free = shutil.disk_usage(_existing(where.data)).free
    yield "disk", free > 500 * 2**20, f"{free / 2**30:.1f} GiB free"
    yield "model", *_diagnosed_model(app)
    made = app.manifest()
    found = (
        f"{made.pages} pages, {made.chunks} chunks" if made else "none yet: questions are answered from the handbook"
    )
    yield "index", True, found
    llm = app.settings.llm
    yield "llm", True, f"{llm.model} at {llm.base_url}" if llm.base_url else "none: answers are extracted"
    yield from _diagnosed_go(app)


def _diagnosed_go(app: Holdings) -> Iterator[tuple[str, bool, str]]:
    try:
        go = app.go
    except ToolchainMissing as exc:
        yield "go", False, f"{exc.message}; the Go tools need it: {exc.hint}"
        return
    yield "go", True, f"{go.version} at {go.program}"
    built = helper.is_built(go, app.settings.folders.golang)
    yield (
        "go helper",
        True,
        "built" if built else "not built yet: the first layout does it, or ragmacs doctor --warm",
    )


def _diagnosed_model(app: Holdings) -> tuple[bool, str]:
    settings = app.settings.embed
    if settings.engine == "endpoint":
        server = settings.base_url or "no server: set [embed] base_url"
        return bool(settings.base_url), f"{settings.model} at {server}"
    try:
        return True, f"{app.model.name}, {app.model.origin}: {app.model.path}"
    except EmbedderMissing as exc:
        return False, f"{exc.message}; run: {exc.hint}"


def _existing(path: Path) -> Path:
    """The nearest folder above PATH that exists."""
    return path if path.exists() else _existing(path.parent)


def _size(path: Path) -> str:
    if not path.exists():
        return "absent"
    used = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return f"{used / 2**20:.1f} MiB"
