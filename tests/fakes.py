"""Stand-ins at the seams: embedders without a model."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

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
