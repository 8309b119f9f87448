"""Sizes become a table and a plot: what search costs, and finds, as the corpus grows to a million chunks.

Everything goes through our own code: `generation.publish` writes, `Generation` and `retrieve.search` read, each in a
process of its own. The corpus is made up. Vectors stand in topics and pages, their spread falling from dimension to
dimension as that of real ones does; words are drawn by Zipf's law. A question is a chunk's vector mixed with as much
of another topic (cosine about .7, as between a real question and what answers it), and words of that chunk.
There are no token vectors: re-ranking compares thirty candidates, however large the corpus is.

    python tests/bench/growth.py --sizes 1000,10000,100000,1000000 --folder /tmp/growth
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from ragmacs_srv.model import Block, Chunk, Page, Section  # noqa: E402
from ragmacs_srv.search import generation, retrieve  # noqa: E402
from ragmacs_srv.search.generation import Dense  # noqa: E402
from ragmacs_srv.search.store import StoredPage, passage_hash  # noqa: E402
from ragmacs_srv.search.terms import terms  # noqa: E402

DIM, WORDS, VOCABULARY = 384, 70, 200_000
PAGE, TOPIC = 10, 500  # chunks
BLOCK = 10_000  # chunks made together
QUESTIONS = 200
AT = "2026-01-01T00:00:00+00:00"
Floats = NDArray[np.float32]


# The corpus


def unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def normal(random: np.random.Generator, rows: int) -> Floats:
    """Rows whose spread falls with the dimension."""
    return np.asarray(random.standard_normal((rows, DIM), np.float32) / np.sqrt(1 + np.arange(DIM) / 20), np.float32)


def corpus_vectors(size: int) -> Iterator[Floats]:
    """The vectors of SIZE chunks, block by block: pages around topics, chunks around pages."""
    topics = normal(np.random.default_rng(1), max(20, size // TOPIC))
    for start in range(0, size, BLOCK):
        random, rows = np.random.default_rng([2, start]), min(BLOCK, size - start)
        pages = -(-rows // PAGE)
        centres = topics[random.integers(0, len(topics), pages)] + 0.8 * normal(random, pages)
        yield unit(np.repeat(centres, PAGE, axis=0)[:rows] + 0.9 * normal(random, rows))


def word(number: int) -> str:
    """A word of its own for every NUMBER, which stemming leaves alone."""
    syllables = [a + b for a in "bcdfghjklmnprtvz" for b in "aiou"]
    made = ""
    while number or not made:
        number, at = divmod(number, len(syllables))
        made += syllables[at]
    return made + "k"


def texts(size: int) -> Iterator[str]:
    """SIZE texts of WORDS words."""
    words = np.array([word(number) for number in range(VOCABULARY)], object)
    share = np.cumsum(1 / np.arange(5, VOCABULARY + 5))  # the commonest words of all would be stop words
    for start in range(0, size, BLOCK):
        random, rows = np.random.default_rng([3, start]), min(BLOCK, size - start)
        for drawn in words[np.searchsorted(share, random.random((rows, WORDS)) * share[-1])]:
            yield " ".join(drawn)


def corpus_pages(size: int) -> Iterator[StoredPage]:
    """The pages that hold SIZE chunks, one in a section."""
    made = texts(size)
    for number in range(0, size, PAGE):
        url = f"https://corpus.example/{number}"
        sections, chunks = [], []
        for at, text in zip(range(number, min(size, number + PAGE)), made, strict=False):
            heading = (f"page {word(number)}", f"part {word(at)}")
            sections.append(Section(url, f"s{at}", heading, text, (Block("paragraph", 0, len(text)),)))
            chunks.append((Chunk(f"{at}", url, f"s{at}", heading, text, 0, len(text)),))
        page = Page(url, f"Page {number}", tuple(sections))
        yield StoredPage(page, tuple(chunks), ("corpus",), AT, url)


def questions(vectors: Floats) -> tuple[Floats, list[str]]:
    """A vector and a text for each question; see the module's docstring."""
    random, size = np.random.default_rng(4), len(vectors)
    asked = random.choice(size, QUESTIONS, replace=size < QUESTIONS)
    mixed = unit(vectors[asked] + vectors[random.integers(0, size, QUESTIONS)])
    wanted, found = set(asked.tolist()), {}
    for number, text in enumerate(texts(size)):
        if number in wanted:
            found[number] = " ".join(random.choice(text.split(), 6, replace=False))
    return mixed, [found[number] for number in asked.tolist()]


class Asked:
    """The embedder of the questions: they have their vectors already."""

    name, key, numeric, dim = "made-up", "made-up", "exact", DIM

    def __init__(self, vectors: Floats, asked: Sequence[str]) -> None:
        self._vectors = dict(zip(asked, vectors, strict=True))

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Floats:
        return np.stack([self._vectors[text] for text in texts])


# What one process does


def make(folder: Path, size: int) -> dict[str, Any]:
    """Make the corpus, its questions and their true answers in FOLDER, and publish it; says what publishing took."""
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (size, DIM))
    at = 0
    for block in corpus_vectors(size):
        vectors[at : at + len(block)] = block
        at += len(block)
    asked, wording = questions(vectors)
    np.save(folder / "asked.npy", asked)
    (folder / "asked.json").write_text(json.dumps(wording))
    np.save(folder / "nearest.npy", nearest(vectors, asked))
    rows: dict[str, int] = {}  # passage hash to the row of its vector, filled as the pages are read
    pages, apart = timed(corpus_pages(size), rows)
    dense = Dense("made-up", "made-up", DIM, rows, lambda passages: (vectors[rows[each]] for each in passages))
    start = time.process_time()
    made = generation.publish(folder / "store", pages, revision="1", chunker="made-up", created=AT, dense=dense)
    spent = time.process_time() - start - apart()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"build_s": spent, "build_peak_mb": peak, **{f"index_{k}": v for k, v in made.index.items()}}


def timed(pages: Iterator[StoredPage], rows: dict[str, int]) -> tuple[Iterator[StoredPage], Callable[[], float]]:
    """PAGES, noting in ROWS where each passage is, and what making them up has taken in CPU-seconds."""
    spent = [0.0]

    def given() -> Iterator[StoredPage]:
        while True:
            start = time.process_time()
            page = next(pages, None)
            for chunks in page.chunks if page else ():
                rows[passage_hash(chunks[0])] = len(rows)
            spent[0] += time.process_time() - start
            if page is None:
                return
            yield page

    return given(), lambda: spent[0]


def nearest(vectors: Floats, asked: Floats) -> NDArray[np.int64]:
    """The ten rows of VECTORS truly nearest to each of ASKED."""
    best: Any = faiss.ResultHeap(len(asked), 10, keep_max=True)
    for start in range(0, len(vectors), BLOCK):
        scores, rows = faiss.knn(asked, vectors[start : start + BLOCK], 10, faiss.METRIC_INNER_PRODUCT)
        best.add_result(scores, rows + start)
    best.finalize()
    return np.asarray(best.I)


def measure(folder: Path) -> dict[str, Any]:
    """Ask every question in each way."""
    asked, wording = np.load(folder / "asked.npy"), json.loads((folder / "asked.json").read_text())
    embedder, truth = Asked(asked, wording), np.load(folder / "nearest.npy")
    start = time.process_time()
    with generation.current(folder / "store") as opened:  # type: ignore[union-attr]
        spent = {"open_ms": 1000 * (time.process_time() - start)}
        found: list[list[tuple[int, float]]] = []
        both = list(zip(asked, wording, strict=True))
        spent |= paced("dense", [lambda v=v: found.append(opened.dense(v, retrieve.CANDIDATES)) for v, _ in both])
        memory = {"dense_anon_mb": status("RssAnon")}
        spent |= paced("lexical", [lambda t=t: opened.lexical(terms(t), retrieve.CANDIDATES) for _, t in both])
        spent |= paced("hybrid", [lambda t=t: retrieve.search(opened, embedder, t, k=8) for _, t in both])
        memory |= {"anon_mb": status("RssAnon"), "mapped_mb": status("RssFile")}
        some = np.random.default_rng(5).choice(opened.manifest.chunks, min(300, len(truth)), replace=False) + 1
        spent |= paced("among", [lambda v=v: opened.dense(v, 10, among=some.tolist()) for v, _ in both])
    again = [{row - 1 for row, _ in hits[:10]} for hits in found[-len(truth) :]]
    recall = statistics.mean(len(rows & set(true)) / 10 for rows, true in zip(again, truth.tolist(), strict=True))
    cosines = [[hits[n][1] for hits in found[-len(truth) :]] for n in (0, 9)]
    files = {path.name: path.stat().st_size / 1e6 for path in opened.folder.iterdir()}
    nearness = {"first": statistics.median(cosines[0]), "tenth": statistics.median(cosines[1])}
    return {
        **spent,
        **memory,
        "recall": recall,
        **nearness,
        "text_mb": files["text.db"],
        "dense_mb": files["dense.faiss"],
    }


def paced(name: str, calls: Sequence[Callable[[], object]]) -> dict[str, float]:
    """Medians over CALLS, in milliseconds of CPU and of wall time; a first round brings the files into memory."""
    cpu, wall = [], []
    for call in [*calls, *calls]:
        started = time.process_time(), time.perf_counter()
        call()
        cpu.append(1000 * (time.process_time() - started[0]))
        wall.append(1000 * (time.perf_counter() - started[1]))
    half = len(calls)
    return {
        f"{name}_ms": statistics.median(cpu[half:]),
        f"{name}_wall_ms": statistics.median(wall[half:]),
        f"{name}_p95_ms": statistics.quantiles(cpu[half:], n=20)[-1],
    }


def status(field: str) -> float:
    """A line of this process's status, in MB; 0 where there is none."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)


# What they say


COLUMNS = {
    "chunks": "{size:,}",
    "kind": "{index_kind}",
    "nlist / nprobe": "{index_nlist} / {index_nprobe}",
    "recall@10": "{recall:.4f}",
    "at build": "{index_recall:.4f}",
    "dense ms": "{dense_ms:.2f}",
    "lexical ms": "{lexical_ms:.1f}",
    "hybrid ms": "{hybrid_ms:.1f}",
    "hybrid p95": "{hybrid_p95_ms:.0f}",
    "RssAnon MB": "{anon_mb:.0f}",
    "mapped MB": "{mapped_mb:.0f}",
    "text.db MB": "{text_mb:.0f}",
    "dense.faiss MB": "{dense_mb:.0f}",
    "open ms": "{open_ms:.0f}",
    "publish CPU-s": "{build_s:.0f}",
    "peak MB": "{build_peak_mb:.0f}",
}


def table(results: Sequence[dict[str, Any]]) -> str:
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(cell.format(**each) for cell in COLUMNS.values())} |" for each in results]
    return "\n".join(lines) + "\n"


def page(results: Sequence[dict[str, Any]]) -> str:
    """What is committed beside this script."""
    last = results[-1]
    return (
        "# How search grows with the corpus\n\nMade by `python tests/bench/growth.py`; see there for the corpus.\n\n"
        + table(results)
        + "\nTimes are medians of CPU time over 200 questions, on one thread and with the files in memory; recall@10 is"
        " against exact search of the same questions, `at build` what publishing found with questions of its own."
        " Publishing is without making up the texts, peak is of the process that does both. Token vectors are left"
        " out: they cost 18 KB of disk a chunk, 9 KB with `compact`, and as much time per question at any size.\n\n"
        f"At {last['size']:,} chunks the nearest vector has a cosine of {last['first']:.2f}, the tenth of"
        f" {last['tenth']:.2f} (medians); in wall time dense takes {last['dense_wall_ms']:.2f} ms and hybrid"
        f" {last['hybrid_wall_ms']:.0f} ms.\n\n![growth](growth.png)\n"
    )


PANELS = {
    "query, CPU ms": {"dense_ms": "dense", "lexical_ms": "lexical", "hybrid_ms": "hybrid"},
    "memory, MB": {"anon_mb": "RssAnon", "mapped_mb": "mapped"},
    "disk, MB": {"text_mb": "text.db", "dense_mb": "dense.faiss"},
    "publish, CPU-s": {"build_s": "publish"},
}


def plot(results: Sequence[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(PANELS) + 1, figsize=(19, 3.6), layout="constrained")
    sizes = [each["size"] for each in results]
    for axis, (title, lines) in zip(axes, PANELS.items(), strict=False):
        for name, label in lines.items():
            axis.plot(sizes, [each[name] for each in results], "o-", label=label)
        axis.set(title=title, xscale="log", yscale="log", xlabel="chunks")
        axis.legend()
    axes[-1].plot(sizes, [each["recall"] for each in results], "o-")
    axes[-1].axhline(0.98, linestyle=":")
    axes[-1].set(title="recall@10", xscale="log", xlabel="chunks", ylim=(0.95, 1.002))
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000,1000000")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="with 8 GB free for a million")
    parser.add_argument("--out", type=Path, default=HERE, help="where growth.md and growth.png go")
    parser.add_argument("--keep", action="store_true", help="keep what was made, and measure it if it is there")
    parser.add_argument("--step", choices=["make", "measure"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        faiss.omp_set_num_threads(1)
        done = make(given.folder, int(given.sizes)) if given.step == "make" else measure(given.folder)
        print(json.dumps(done))
        return
    results = [
        grown(given.folder / f"growth-{size}", size, keep=given.keep) for size in map(int, given.sizes.split(","))
    ]
    (given.out / "growth.md").write_text(page(results))
    plot(results, given.out / "growth.png")


def grown(folder: Path, size: int, *, keep: bool) -> dict[str, Any]:
    """All figures of one size; what is made for them is removed unless it is to KEEP."""
    kept = folder / "made.json"
    try:
        if not kept.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            kept.write_text(json.dumps(step("make", folder, size)))
        result = {"size": size, **json.loads(kept.read_text()), **step("measure", folder, size)}
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(table([result]), json.dumps(result), sep="\n", flush=True)
    return result


def step(name: str, folder: Path, size: int) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "growth.py"), "--step", name, "--folder", str(folder), "--sizes", str(size)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environ)
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    main()
