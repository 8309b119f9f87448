"""Stand-in at the seam for engines that tell the vector of every token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ragmacs_srv.search.embed import Encoded
from ragmacs_srv.search.terms import WORD, terms
from tests.fakes import HashEmbedder


class TokenHashEmbedder(HashEmbedder):
    """Every term is a token, and points where the same term points anywhere; `encoded` is what `encode` was given."""

    def __init__(self, dim: int = 16, name: str = "hash") -> None:
        super().__init__(dim, name)
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str], *, query: bool = False) -> Encoded:
        self.encoded += texts
        tokens = [np.array([self._vector(term) for term in terms(text)], np.float32) for text in texts]
        return Encoded(self.embed(texts, query=query), [each.reshape(-1, self.dim) for each in tokens])

    def spans(self, question: str) -> list[tuple[int, int]]:
        return [match.span() for match in WORD.finditer(question) for _ in terms(match.group())]
