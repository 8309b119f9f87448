"""An address of a file becomes its path, where it stands in a folder that may be read: a root."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

from .errors import AddressRefused, InvalidParams


def folders(names: Iterable[str]) -> tuple[Path, ...]:
    """The folders NAMES, which are absolute paths or file: addresses, links followed; raises InvalidParams."""
    found = []
    for name in names:
        path = path_of(name)
        real = _real(path) if path else None
        if real is None or not real.is_dir():
            raise InvalidParams(f"the root {name[:200]!r} is no folder", hint="give absolute paths of folders")
        found.append(real)
    return tuple(found)


def local(url: str, roots: Sequence[Path]) -> Path | None:
    """The file at URL, an absolute path or a file: address, links followed; None for other addresses.

    Raises AddressRefused as `below` does.
    """
    path = path_of(url)
    return None if path is None else below(path, roots)


def below(path: str, roots: Sequence[Path]) -> Path:
    """The absolute PATH, links followed; raises AddressRefused where it stands in none of ROOTS, there or not."""
    real = _real(path)
    if real is None or not any(real.is_relative_to(root.resolve()) for root in roots):
        hint = 'name its folder when you connect: initialize {"roots": ["/FOLDER"]}; of Go code also in [go] roots'
        raise AddressRefused(f"{path[:200]!r} is in no folder that was opened for this connection", hint=hint)
    return real


def path_of(url: str) -> str | None:
    """What URL names in the file system, as it was written; None when it is an address of another kind.

    A file on another machine keeps its address, which is no path.
    """
    if url.startswith("/"):
        return url.partition("#")[0]
    if url[:5].lower() != "file:":
        return None
    path = url[5:].partition("#")[0].partition("?")[0]
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        if host.lower() not in {"", "localhost"}:
            return url
        path = slash + rest
    # By bytes: the name of a file need not be UTF-8.
    return os.fsdecode(unquote_to_bytes(path.encode(errors="surrogatepass")))


def _real(path: str) -> Path | None:
    """PATH with all links followed; None for what is no absolute path."""
    if not path.startswith("/") or "\0" in path:
        return None
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError):  # links in a circle
        return None
