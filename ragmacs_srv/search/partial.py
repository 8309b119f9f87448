"""An index of the rows that have a vector already becomes one of all rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .vectors import VectorIndex


class PartialIndex:
    """Some rows have no vector yet: they are never found, and are as near as the others when asked for."""

    def __init__(self, index: VectorIndex, rows: NDArray[np.int64]) -> None:
        """The n-th vector of INDEX is that of ROWS[n]; they ascend."""
        self._index = index
        self._rows = rows

    def search(
        self, query: NDArray[np.float32], k: int, among: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """As VectorIndex has it. When the scores of all of AMONG are asked for, a row without a vector has the mean.

        Any other score would rank it by when it was read: a likely answer is not worse for being new.
        """
        if among is None:
            found, scores = self._index.search(query, k)
            return self._rows[found], scores
        at = np.minimum(np.searchsorted(self._rows, among), len(self._rows) - 1)
        held = self._rows[at] == among
        found, scores = self._index.search(query, k, at[held])
        if k < len(among) or not len(found):
            return self._rows[found], scores
        rows = np.concatenate([self._rows[found], among[~held]])
        scores = np.concatenate([scores, np.full(len(rows) - len(found), scores.mean(), np.float32)])
        order = np.argsort(-scores, kind="stable")
        return rows[order], scores[order]
