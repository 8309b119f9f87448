"""An index that lacks some rows answers as one that has them, and favours neither."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from ragmacs_srv.search.partial import PartialIndex


class Rows:
    """Exact search in a few vectors."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors

    def search(
        self, query: NDArray[np.float32], k: int, among: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        rows = np.arange(len(self._vectors)) if among is None else among
        scores = self._vectors[rows] @ query
        best = np.argsort(-scores)[:k]
        return rows[best], scores[best]


QUERY = np.array([1, 0], np.float32)
INDEX = PartialIndex(Rows(np.array([[0.2, 0], [0.8, 0], [0.5, 0]], np.float32)), np.array([1, 4, 7]))


def found(k: int, among: Sequence[int] | None = None) -> dict[int, float]:
    rows, scores = INDEX.search(QUERY, k, None if among is None else np.array(among, np.int64))
    assert list(scores) == sorted(scores, reverse=True)
    return {int(row): round(float(score), 3) for row, score in zip(rows, scores, strict=True)}


@pytest.mark.parametrize(
    ("k", "among", "expected"),
    [
        (9, None, {4: 0.8, 7: 0.5, 1: 0.2}),
        (2, None, {4: 0.8, 7: 0.5}),
        (9, [1, 7], {7: 0.5, 1: 0.2}),
        (9, [0, 1, 4, 9], {4: 0.8, 0: 0.5, 9: 0.5, 1: 0.2}),
        (2, [0, 1, 4, 9], {4: 0.8, 1: 0.2}),
        (9, [0, 2, 9], {}),
        (9, [], {}),
    ],
    ids=["all", "the best", "rows it has", "scores of all asked for", "the best of some", "none it has", "nothing"],
)
def test_rows_without_a_vector_are_not_found_and_have_the_mean_when_all_are_asked_for(
    k: int, among: list[int] | None, expected: dict[int, float]
) -> None:
    assert found(k, among) == expected
