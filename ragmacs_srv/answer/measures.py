"""Samples become a mean with the interval that chance alone leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LEAST = 10  # samples below which an interval would promise too much
RESAMPLES = 2000
SEED = 7  # the same samples have the same interval on every run


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean of N samples with its 95 % bootstrap interval; without one when the samples are too few."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None

    def as_json(self) -> dict[str, float | int | None]:
        return {
            "value": round(self.value, 4),
            "low": None if self.low is None else round(self.low, 4),
            "high": None if self.high is None else round(self.high, 4),
            "n": self.n,
        }


def mean(samples: Sequence[float]) -> Figure:
    """The mean of SAMPLES, of which there is at least one."""
    values = np.asarray(samples, np.float64)
    n = len(values)
    means = _resampled(n) @ values / n if n >= LEAST else None
    return _figure(float(values.mean()), n, means)


def auroc(positive: Sequence[float], negative: Sequence[float]) -> Figure:
    """How often one of POSITIVE is above one of NEGATIVE, a tie counting half: 1 is perfect, 0.5 is chance."""
    above, below = np.asarray(positive, np.float64)[:, None], np.asarray(negative, np.float64)[None, :]
    wins = (above > below) + 0.5 * (above == below)
    rows, columns = wins.shape
    means = None
    if min(rows, columns) >= LEAST:
        picked = _resampled(rows) @ wins
        means = (picked * _resampled(columns, SEED + 1)).sum(axis=1) / (rows * columns)
    return _figure(float(wins.mean()), rows + columns, means)


@lru_cache(maxsize=8)
def _resampled(n: int, seed: int = SEED) -> NDArray[np.float64]:
    """How often each of N samples is drawn in each of RESAMPLES draws of N with replacement."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)


def _figure(value: float, n: int, means: NDArray[np.float64] | None) -> Figure:
    if means is None:
        return Figure(value, n)
    low, high = np.percentile(means, [2.5, 97.5])
    return Figure(value, n, float(low), float(high))
