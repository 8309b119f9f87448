"""Stand-ins at the seams: embedders without a model, a Go without a toolchain."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ragmacs_srv.errors import ToolchainFailed
from ragmacs_srv.events import Cancel
from ragmacs_srv.search.terms import terms


class HashEmbedder:
    """Texts that share terms point the same way; `calls` counts batches, `texts` what was in them."""

    numeric = "exact"  # a test may say otherwise

    def __init__(self, dim: int = 16, name: str = "hash") -> None:
        self.name = name
        self.dim = dim
        self.key = f"{name}-{dim}"
        self.calls = 0
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        self.calls += 1
        self.texts += texts
        return np.stack([self._vector(text) for text in texts]) if texts else np.empty((0, self.dim), np.float32)

    def _vector(self, text: str) -> NDArray[np.float32]:
        total = sum((_direction(term, self.dim) for term in terms(text)), start=_direction("", self.dim) / 100)
        return (total / np.linalg.norm(total)).astype(np.float32)


@cache
def _direction(term: str, dim: int) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest())
    return np.random.default_rng(seed).standard_normal(dim)


class StuckEmbedder(HashEmbedder):
    """Answers when it is let go, not before; `waited` counts who asked."""

    def __init__(self, dim: int = 16, name: str = "stuck") -> None:
        super().__init__(dim, name)
        self.waited = 0
        self.let_go = threading.Event()

    def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        self.waited += 1
        if not self.let_go.wait(60):
            raise AssertionError("nobody let the embedder go")
        return super().embed(texts, query=query)


class WrittenGo:
    """A Go whose standard library are packages that a test has written down: sections by path; `asked` notes reads."""

    def __init__(self, version: str = "go1.99.1", **packages: list[dict[str, object]]) -> None:
        self.version = version
        self.packages = {path.replace("_", "/"): sections for path, sections in packages.items()}
        self.asked: list[str] = []

    def stamp(self) -> str:
        return f"{self.version}-0"

    def standard(self, cancel: Cancel) -> Sequence[str]:
        return tuple(self.packages)

    def package(self, path: str, cancel: Cancel) -> bytes:
        self.asked.append(path)
        if path not in self.packages:
            raise ToolchainFailed(f"no package {path}", hint="did you mean x?", data={"kind": "package_not_found"})
        name = path.rpartition("/")[2]
        said = {"path": path, "name": name, "version": self.version, "sections": self.packages[path]}
        return json.dumps(said).encode()


def go_section(
    anchor: str, *heading: str, text: str = "Words about it. " * 6, code: str = "func F()", place: str = ""
) -> dict[str, object]:
    """A section as our Go program writes it."""
    pieces = [{"kind": "code", "text": f"```go\n{code}\n```"}, {"kind": "paragraph", "text": text.strip()}]
    return {"anchor": anchor, "heading": heading, "pieces": pieces, "place": place}
