"""Vectors become a FAISS file, and a query vector becomes the ids nearest to it.

How they are kept depends on how many there are. Few are compared one by one (`Flat`), more as half floats
(`SQfp16`: half the size, and faster), and many only within the lists whose centres are near the query
(`IVF,SQfp16`). How many lists must be looked at is measured when the file is made, against exact search.
Every kind is memory-mapped, and every kind can give a vector back: half floats differ from the vectors only
in the fourth digit, so that nothing need be kept beside them to re-rank what was found.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from ..errors import IndexCorrupt, StorageError

THREADS = faiss.omp_get_max_threads()  # what OMP_NUM_THREADS or the machine allows, before anything changed it
BATCH = 4096  # vectors read together when a file is made
EXACT = 5_000  # as many rows are compared one by one in less time than it takes to search for them
CHECKS, NEAREST = 200, 10  # the questions that recall is measured with, and how many of the nearest count
RECALL = 0.99  # of the nearest are found, at the least, when the file is made: the promise is .98
FEWEST = 4  # 2**4 lists are always looked at: the margin for questions unlike ours, .2 ms among a million
TIE = 5e-4  # cosines nearer than this are equal: half floats know no better
TRAINING, ROUNDS = 40, 10  # vectors per list that its centre is learned from, and how often it is moved

Rows = Callable[[Sequence[int]], Iterator[NDArray[np.float32]]]  # row numbers to their unit vectors


@dataclass(frozen=True, slots=True)
class Sizes:
    """Up to how many vectors each kind is used; beyond that it is `IVF,SQfp16`."""

    flat: int = 50_000
    half: int = 150_000


SIZES = Sizes()


@dataclass(frozen=True, slots=True)
class Built:
    """What an index file is: its kind, and the share of the truly nearest ten that it finds."""

    kind: str
    recall: float = 1.0
    nlist: int = 0  # lists there are, and
    nprobe: int = 0  # that are looked at


class VectorIndex(Protocol):
    """Row numbers and inner products of the vectors nearest to a query."""

    def search(
        self, query: NDArray[np.float32], k: int, among: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Up to K (rows, scores), best first; AMONG limits the search to those rows. QUERY has shape (dim,)."""
        ...


class FaissIndex:
    """Search in a memory-mapped file of any kind."""

    def __init__(self, path: Path) -> None:
        """Open the file at PATH; raises IndexCorrupt when FAISS cannot read it."""
        try:
            self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as exc:
            raise IndexCorrupt(f"{path}: {_first_line(exc)}", hint="ragmacs reindex") from exc
        if isinstance(self._index, faiss.IndexIVF):
            self._index.make_direct_map()  # where each row lies: 8 bytes of memory each

    def search(
        self, query: NDArray[np.float32], k: int, among: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if not (self._index.ntotal if among is None else len(among)):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if among is not None and len(among) <= EXACT:
            return self._compared(query, k, among)
        faiss.omp_set_num_threads(1)  # one query is one thread's work: others would wait for it, at full speed
        params = None if among is None else self._only(among)
        scores, rows = self._index.search(query[None, :], min(k, self._index.ntotal), params=params)
        found = rows[0] >= 0
        return rows[0][found], scores[0][found]

    def _compared(
        self, query: NDArray[np.float32], k: int, among: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The best K of few rows, each compared."""
        scores = np.asarray(self._index.reconstruct_batch(among) @ query, np.float32)
        best = np.argsort(-scores, kind="stable")[:k]
        return among[best], scores[best]

    def _only(self, among: NDArray[np.int64]) -> Any:
        """The parameters of a search in many rows, of which as many are looked at as of all in any other search."""
        total = self._index.ntotal
        chosen = np.zeros(total, np.bool_)
        chosen[among] = True
        untyped: Any = faiss  # the stubs do not know what FAISS's own Python layer accepts
        selector = untyped.IDSelectorBitmap(np.packbits(chosen, bitorder="little"))
        if not isinstance(self._index, faiss.IndexIVF):
            return untyped.SearchParameters(sel=selector)
        nprobe = min(self._index.nlist, math.ceil(self._index.nprobe * total / len(among)))
        return untyped.SearchParametersIVF(sel=selector, nprobe=nprobe)


def write(path: Path, dim: int, count: int, rows: Rows, sizes: Sizes = SIZES) -> Built:
    """Write an inner-product index of COUNT vectors of length 1, of the kind that SIZES give for so many.

    ROWS is asked for some of them first, to learn from, then for all in order. Only the index is held in memory.
    Raises StorageError when the disk is full.
    """
    faiss.omp_set_num_threads(THREADS)
    index: Any = _empty(dim, count, sizes)
    check = None
    if count > sizes.flat:
        lists = getattr(index, "nlist", 0)
        sample = _sample(rows, dim, count, max(CHECKS, lists * TRAINING))
        index.train(sample)
        check = _Check(sample)
    for batch in _batches(rows(range(count)), BATCH):
        index.add(batch)
        if check:
            check.add(batch)
    built = check.tuned(index) if check else Built("Flat")
    _save(path, index)
    return built


def _empty(dim: int, count: int, sizes: Sizes) -> Any:
    """An index for COUNT vectors, untrained."""
    inner = faiss.METRIC_INNER_PRODUCT
    if count <= sizes.flat:
        return faiss.IndexFlatIP(dim)
    if count <= sizes.half:
        return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, inner)
    lists = max(1, min(int(4 * math.sqrt(count)), count // TRAINING))
    index: Any = faiss.index_factory(dim, f"IVF{lists},SQfp16", inner)
    index.cp.niter, index.cp.max_points_per_centroid, index.cp.min_points_per_centroid = ROUNDS, TRAINING, 1
    return index


class _Check:
    """Exact search beside the index that is being filled, for questions as far from passages as real ones are."""

    def __init__(self, sample: NDArray[np.float32]) -> None:
        self._questions = _questions(sample)
        self._exact: Any = faiss.ResultHeap(len(self._questions), NEAREST, keep_max=True)
        self._seen = 0

    def add(self, batch: NDArray[np.float32]) -> None:
        scores, rows = faiss.knn(self._questions, batch, min(NEAREST, len(batch)), faiss.METRIC_INNER_PRODUCT)
        self._exact.add_result(scores, rows + self._seen)
        self._seen += len(batch)

    def tuned(self, index: Any) -> Built:
        """What INDEX is, once it looks at enough lists to find what exact search found."""
        self._exact.finalize()
        if not isinstance(index, faiss.IndexIVF):
            return Built("SQfp16", self._recall(index))
        for nprobe in itertools.takewhile(lambda each: each < index.nlist, (2**n for n in itertools.count(FEWEST))):
            index.nprobe = nprobe
            if (recall := self._recall(index)) >= RECALL:
                return Built("IVF,SQfp16", recall, index.nlist, nprobe)
        index.nprobe = index.nlist
        return Built("IVF,SQfp16", self._recall(index), index.nlist, index.nlist)

    def _recall(self, index: Any) -> float:
        """The share of the nearest that INDEX finds, or others as near: many a passage stands in several places."""
        scores, _ = index.search(self._questions, NEAREST)
        return round(float((scores >= self._exact.D[:, -1:] - TIE).mean()), 4)


def _questions(sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors between two of SAMPLE, about .7 from each: their nearest lie in two places, not in one."""
    random = np.random.default_rng(0)
    near = sample[random.choice(len(sample), CHECKS, replace=len(sample) < CHECKS)]
    other = sample[random.integers(0, len(sample), CHECKS)]
    return _unit(near + other)


def _sample(rows: Rows, dim: int, count: int, size: int) -> NDArray[np.float32]:
    """SIZE of COUNT vectors, or all of them, drawn anyhow but always the same, shape (size, dim)."""
    numbers = np.sort(np.random.default_rng(0).choice(count, min(size, count), replace=False))
    drawn = np.empty((len(numbers), dim), np.float32)
    for at, row in enumerate(rows(numbers.tolist())):
        drawn[at] = row
    return drawn


def _batches(rows: Iterator[NDArray[np.float32]], size: int) -> Iterator[NDArray[np.float32]]:
    while batch := list(itertools.islice(rows, size)):
        yield np.stack(batch).astype(np.float32, copy=False)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)


def _save(path: Path, index: Any) -> None:
    try:
        with path.open("wb") as file:  # not FAISS's own writer, which ignores a disk that is full at the last buffer
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]
    except OSError as exc:
        raise StorageError(f"{path}: {exc.strerror}", hint="free some disk space, then ragmacs reindex") from exc


def _first_line(exc: RuntimeError) -> str:
    return str(exc).strip().splitlines()[0]
