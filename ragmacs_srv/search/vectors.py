"""Vectors become a FAISS file, and a query vector becomes the ids nearest to it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from ..errors import IndexCorrupt, StorageError


class VectorIndex(Protocol):
    """Row numbers and inner products of the vectors nearest to a query."""

    def search(
        self, query: NDArray[np.float32], k: int, among: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Up to K (rows, scores), best first; AMONG limits the search to those rows. QUERY has shape (dim,)."""
        ...


class FlatIndex:
    """Exact search over a memory-mapped file: right up to some 50,000 vectors."""

    def __init__(self, path: Path) -> None:
        """Open the file at PATH; raises IndexCorrupt when FAISS cannot read it."""
        try:
            self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as exc:
            raise IndexCorrupt(f"{path}: {_first_line(exc)}", hint="ragmacs reindex") from exc

    def search(
        self, query: NDArray[np.float32], k: int, among: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if not (self._index.ntotal if among is None else len(among)):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        only: Any = faiss.SearchParameters
        params = None if among is None else only(sel=faiss.IDSelectorBatch(among))
        scores, rows = self._index.search(query[None, :], min(k, self._index.ntotal), params=params)
        found = rows[0] >= 0
        return rows[0][found], scores[0][found]


def write_flat(path: Path, dim: int, batches: Iterable[NDArray[np.float32]]) -> int:
    """Write an exact inner-product index of all rows of BATCHES, each of shape (n, dim); returns their number."""
    index: Any = faiss.IndexFlatIP(dim)
    for batch in batches:
        index.add(np.ascontiguousarray(batch, np.float32))
    try:
        with path.open("wb") as file:  # not FAISS's own writer, which ignores a disk that is full at the last buffer
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]
    except OSError as exc:
        raise StorageError(f"{path}: {exc.strerror}", hint="free some disk space, then ragmacs reindex") from exc
    return int(index.ntotal)


def _first_line(exc: RuntimeError) -> str:
    return str(exc).strip().splitlines()[0]
