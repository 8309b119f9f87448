"""The handbook's chunks become a table: what each engine costs, and how far its vectors are from the reference's.

Costs are CPU time, taken in turns in one process, the least of several rounds. The reference is
SentenceTransformer.encode as it comes, on one core, which spares it the cost of sharing a batch.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ragmacs_srv.errors import EmbedderMissing
from ragmacs_srv.ingest import chunk
from ragmacs_srv.ingest.kinds import handbook
from ragmacs_srv.ingest.worker import Extractor
from ragmacs_srv.search.embed import (
    ModelFolder,
    OnnxEmbedder,
    OpenVinoEmbedder,
    SentenceTransformerEmbedder,
    Tokens,
    find_model,
)
from ragmacs_srv.search.export import exported
from ragmacs_srv.settings import EmbedSettings

REFERENCE = "SentenceTransformer"
ROUNDS = 3
NEIGHBOURS = 10
QUESTIONS = (
    "What does GOGC do?",
    "How do I limit the memory of a Go program in a container?",
    "when does a variable escape to the heap",
    "sync.Pool",
    "Why does my goroutine never return?",
    "order of struct fields and padding",
    "which pprof profile shows allocations",
    "Are arenas safe to use?",
)

T = TypeVar("T")
Embed = Callable[[Sequence[str], bool], NDArray[np.float32]]  # texts, whether they are questions


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one engine."""

    query: float  # CPU milliseconds for a question
    throughput: float  # chunks in a CPU-second
    ratio: float  # that, with the reference's as 1
    cosine: float  # to the reference's vectors, the mean
    least: float  # and the least
    overlap: float  # of the ten nearest neighbours with the reference's, the mean share


def chunks(model: ModelFolder) -> list[str]:
    """The handbook as it is embedded."""
    tokens = Tokens(model)
    with Extractor() as extractor:
        pages = [extractor.extract(response) for response in handbook.responses()]
    sections = [section for page in pages for section in page.sections]
    return [
        each.passage for section in sections for each in chunk.split(section, limit=tokens.limit, count=tokens.count)
    ]


def engines(model: ModelFolder, cache: Path) -> dict[str, Embed]:
    """Every engine that runs here, the reference first."""
    reference = SentenceTransformerEmbedder(model, threads=1)

    def as_it_comes(texts: Sequence[str], query: bool) -> NDArray[np.float32]:
        vectors = reference.loaded.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)

    made = exported(model, cache)
    found: dict[str, Embed] = {REFERENCE: as_it_comes, "onnx": _embed(OnnxEmbedder(model, made))}
    try:
        found["openvino-bf16"] = _embed(OpenVinoEmbedder(model, made))
    except EmbedderMissing as exc:
        print(exc.message)
    return found


def _embed(engine: OnnxEmbedder | OpenVinoEmbedder) -> Embed:
    return lambda texts, query: engine.embed(texts, query=query)


def measure(found: Mapping[str, Embed], texts: Sequence[str], *, rounds: int = ROUNDS) -> dict[str, Row]:
    """A row for every engine, each of which embeds TEXTS and QUESTIONS so many ROUNDS."""
    asked = {name: embed(QUESTIONS, True) for name, embed in found.items()}  # loads them, too
    vectors, indexing = _least(found, lambda embed: embed(texts, False), rounds)
    _, asking = _least(found, lambda embed: [embed([question], True) for question in QUESTIONS], rounds)
    return {
        name: Row(
            asking[name] * 1000 / len(QUESTIONS),
            len(texts) / indexing[name],
            indexing[REFERENCE] / indexing[name],
            *_cosines(vectors[name], vectors[REFERENCE]),
            _overlap((vectors[name], asked[name]), (vectors[REFERENCE], asked[REFERENCE])),
        )
        for name in found
    }


def _least(
    found: Mapping[str, Embed], work: Callable[[Embed], T], rounds: int
) -> tuple[dict[str, T], dict[str, float]]:
    """What WORK gives with each engine, and its CPU-seconds; in turns, so that all meet the same weather."""
    spent: dict[str, list[float]] = {name: [] for name in found}
    given: dict[str, T] = {}
    for _ in range(rounds):
        for name, embed in found.items():
            start = time.process_time()
            given[name] = work(embed)
            spent[name].append(time.process_time() - start)
    return given, {name: min(times) for name, times in spent.items()}


def _cosines(given: NDArray[np.float32], expected: NDArray[np.float32]) -> tuple[float, float]:
    cosines = np.sum(given.astype(np.float64) * expected, axis=1)
    return float(cosines.mean()), float(cosines.min())


_Space = tuple[NDArray[np.float32], NDArray[np.float32]]  # the vectors of chunks, and of questions


def _overlap(given: _Space, expected: _Space) -> float:
    """The share of the nearest neighbours, of every chunk and question, that both spaces name."""
    pairs = zip(_neighbours(*given), _neighbours(*expected), strict=True)
    return float(np.mean([len(set(mine) & set(other)) / NEIGHBOURS for mine, other in pairs]))


def _neighbours(vectors: NDArray[np.float32], asked: NDArray[np.float32]) -> list[list[int]]:
    likeness = np.concatenate([vectors, asked]) @ vectors.T
    np.fill_diagonal(likeness, -1)  # no chunk is its own neighbour
    nearest: list[list[int]] = np.argsort(-likeness, axis=1)[:, :NEIGHBOURS].tolist()
    return nearest


def table(rows: Mapping[str, Row]) -> str:
    lines = [f"{'engine':20} {'query ms':>8} {'chunks/s':>8} {'x ST':>5} {'cosine':>8} {'least':>8} {'top-10':>6}"]
    for name, row in rows.items():
        costs = f"{row.query:8.1f} {row.throughput:8.1f} {row.ratio:5.2f}"
        lines.append(f"{name:20} {costs} {row.cosine:8.5f} {row.least:8.5f} {row.overlap:6.3f}")
    return "\n".join(lines)


def main() -> None:
    model = find_model(EmbedSettings(), Path("/nowhere"), os.environ)
    with tempfile.TemporaryDirectory() as cache:
        texts = chunks(model)
        print(f"{len(texts)} chunks of the handbook; load average {os.getloadavg()[0]:.1f}; all times are CPU time")
        print(table(measure(engines(model, Path(cache)), texts)))


if __name__ == "__main__":
    main()
