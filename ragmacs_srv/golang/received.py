"""The path of a file that somebody names becomes its bytes, if it is a plain file of a bearable size."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from ..errors import InvalidParams

MOST: Final = 64 << 20  # bytes


def content(path: Path, most: int = MOST) -> bytes:
    """The bytes of PATH; raises InvalidParams for what is no file that can be read, or has more than MOST."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer must not wait
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise InvalidParams(f"{path} cannot be read: {reason}", hint="name a file that is there") from exc
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InvalidParams(f"{path} is no file", hint="name a file; - is stdin; save first what a server serves")
    with os.fdopen(handle, "rb") as file:
        found = file.read(most + 1)
    return bounded(found, str(path), most)


def bounded(found: bytes, name: str, most: int = MOST) -> bytes:
    """FOUND; raises InvalidParams, with NAME, when it has more than MOST bytes."""
    if len(found) > most:
        raise InvalidParams(f"{name} has more than {most >> 20} MB", hint="give a part of it, or a shorter recording")
    return found
