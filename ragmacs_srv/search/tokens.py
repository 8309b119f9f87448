"""Token vectors become small ones on disk, and a question's tokens a score for each chunk: late interaction.

The vector of a whole chunk blurs what it says; its tokens, compared one by one with those of the question,
do not. They are turned to their main directions (PCA, trained on the corpus itself, neither centred nor
whitened), scaled to length 1 and kept as int8: 128 bytes a token, a twelfth of what the model gave. Half
of that is nearly as good: see COMPACT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DIM, COMPACT = 128, 64  # main directions that are kept
SAMPLE = 25_000  # token vectors are enough to find the main directions
SCALE = 127  # an int8 of a unit vector's component
TOKENS, OFFSETS, PROJECTION = "tokens.i8", "tokens.offsets.npy", "tokens.projection.npy"


@dataclass(frozen=True, eq=False)
class Projection:
    """How token vectors of one model are made small."""

    model: str  # the key of the model whose tokens these are
    matrix: NDArray[np.float32]  # (width, the directions kept), orthonormal columns
    tokens: int  # it was trained on
    passages: int  # there were in the corpus then

    @cached_property
    def key(self) -> str:
        """Changes whenever the small vectors would."""
        return hashlib.sha256(self.model.encode() + self.matrix.astype("<f4").tobytes()).hexdigest()[:16]

    @property
    def dim(self) -> int:
        return int(self.matrix.shape[1])

    @property
    def nothing(self) -> NDArray[np.int8]:
        """The token vectors of a passage that has none."""
        return np.empty((0, self.dim), np.int8)

    def outgrown(self, passages: int) -> bool:
        """Whether a corpus of so many PASSAGES deserves a better one: this was trained on too little."""
        return self.tokens < SAMPLE and passages >= 2 * self.passages

    def keeps(self, dim: int) -> bool:
        """Whether it is what DIM asks for: that many directions, or all there are."""
        return self.dim == min(dim, len(self.matrix))

    def turn(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Token vectors (tokens, width) in the main directions (tokens, dim), of length 1."""
        turned = vectors @ self.matrix
        lengths = np.linalg.norm(turned, axis=1, keepdims=True)
        return np.asarray(turned / np.maximum(lengths, 1e-12), np.float32)

    def reduce(self, vectors: NDArray[np.float32]) -> NDArray[np.int8]:
        """Token vectors as they are kept, shape (tokens, dim)."""
        return np.rint(self.turn(vectors) * SCALE).astype(np.int8)


def train(model: str, sample: Sequence[NDArray[np.float32]], *, passages: int, dim: int = DIM) -> Projection:
    """The projection to DIM directions that keeps most of SAMPLE, arrays of shape (tokens, width).

    The same sample gives the same projection.
    """
    vectors = np.concatenate(sample).astype(np.float64)
    _, directions = np.linalg.eigh(vectors.T @ vectors)  # ascending: the main ones come last
    main = directions[:, ::-1][:, :dim]
    largest = np.abs(main).argmax(axis=0)
    signs = np.sign(main[largest, np.arange(main.shape[1])])  # an eigenvector has none of its own
    return Projection(model, np.ascontiguousarray(main * signs, np.float32), len(vectors), passages)


class TokenFile:
    """The token vectors of every chunk of a generation, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        self._matrix = Projection("", np.load(folder / PROJECTION), 0, 0)
        self._offsets: NDArray[np.int64] = np.load(folder / OFFSETS, mmap_mode="r")
        self._tokens: NDArray[np.int8] = np.empty((0, self._matrix.dim), np.int8)
        if self._offsets[-1]:  # nothing cannot be mapped
            shape = (int(self._offsets[-1]), self._matrix.dim)
            self._tokens = np.memmap(folder / TOKENS, np.int8, mode="r", shape=shape)

    def maxsim(self, question: NDArray[np.float32], rows: Sequence[int]) -> NDArray[np.float32]:
        """How well each of ROWS matches each token of QUESTION (tokens, width) at best: cosines (rows, tokens).

        A row without token vectors has the mean of the others: it is neither better nor worse for that.
        """
        asked = self._matrix.turn(question)
        best = np.zeros((len(rows), len(asked)), np.float32)
        spans = [(int(self._offsets[row]), int(self._offsets[row + 1])) for row in rows]
        known = np.array([start < end for start, end in spans], np.bool_)
        if known.any():
            tokens = np.concatenate([self._tokens[start:end] for start, end in spans]).astype(np.float32)
            starts = np.cumsum([0, *(end - start for start, end in spans)])[:-1][known]
            best[known] = np.maximum.reduceat(tokens @ asked.T, starts, axis=0) / SCALE
            best[~known] = best[known].mean(axis=0)
        return best


def write(folder: Path, projection: Projection, rows: Iterable[NDArray[np.int8]]) -> None:
    """Write the files of a TokenFile into FOLDER; ROWS holds the small token vectors of each chunk, in order."""
    offsets = [0]
    with (folder / TOKENS).open("wb") as file:
        for tokens in rows:
            file.write(tokens.tobytes())
            offsets.append(offsets[-1] + len(tokens))
    np.save(folder / OFFSETS, np.array(offsets, np.int64))
    np.save(folder / PROJECTION, projection.matrix)
