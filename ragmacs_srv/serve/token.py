"""A file becomes the secret that clients of the HTTP server show: 256 random bits, new with every start."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import StorageError


@contextmanager
def issued(path: Path) -> Iterator[str]:
    """A new token, which only our user can read at PATH while inside.

    Whoever reads PATH sees a whole token, never a part or another file's permissions.
    """
    token = secrets.token_urlsafe(32)
    _write(path, token)
    try:
        yield token
    finally:
        with suppress(OSError):
            if path.read_text() == token:  # not that of a server which came after us
                path.unlink()


def _write(path: Path, token: str) -> None:
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token)
        aside.replace(path)
    except OSError as exc:
        with suppress(OSError):
            aside.unlink()
        message = f"the token cannot be written to {path}: {exc.strerror}"
        raise StorageError(message, hint="make the folder writable, or choose another with --home") from exc
