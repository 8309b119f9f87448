"""Our search beside plain sentence-transformers with FAISS and bm25s: CPU times of one run, and their ratios.

Everything runs on one thread, each side in a process of its own. The two take turns, ten questions each, so that a
machine that is slow for a while is slow for both. Each question is timed three times, and the lowest counts: other work
only ever adds. The median of the questions is the figure. The corpus has 10,000 chunks. Embedding so many takes minutes
and says nothing of search, so they are made of the handbook's: texts of sentences drawn from it, each with the vector
of one of its chunks, moved a little, and that chunk's token vectors. Half of the words of every page are made its own,
so that the terms of a question stand in as large a share of the chunks as with real pages. What writes and reads them
is our own code.

    python tests/bench/speed.py
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

CHUNKS, PAGE, SENTENCES = 10_000, 10, 6
RUNS, TURNS, K, CANDIDATES = 3, 10, 10, 60
SETTINGS = {"RAGMACS_EMBED_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
READY = (
    "import os, sys, time; from ragmacs_srv import settings; from ragmacs_srv.app import App\n"
    "with App(settings.load(os.environ), os.environ) as app: assert app.search('What does GOGC do?').mode == 'hybrid'\n"
    "print(time.process_time())"
)
IMPORTED = "import time, sentence_transformers; print(time.process_time())"


# The corpus


def make(home: Path) -> dict[str, float]:
    """Index the handbook in HOME, then publish the 10,000 chunks made of it; says what writing them took."""
    from ragmacs_srv import settings
    from ragmacs_srv.app import App
    from ragmacs_srv.search import generation
    from ragmacs_srv.search.generation import Dense, Late
    from ragmacs_srv.search.store import passage_hash

    random = np.random.default_rng(1)
    with App(settings.load(os.environ), os.environ) as app:
        app.crawl(app.source("handbook"))
        embedder, _ = app.embedder
        assert embedder is not None
        with app.store() as store:
            known = [each for url in store.urls() for part in store.page(url).chunks for each in part]
            projection = store.projection(embedder.key)
            assert projection is not None
            keys = [passage_hash(each) for each in known]
            vectors = np.stack(list(store.vectors(embedder.key, keys)))
            tokens = list(store.tokens(projection, keys))
        donors = random.integers(0, len(keys), CHUNKS).tolist()
        moved = vectors[donors] + 0.02 * random.standard_normal((CHUNKS, vectors.shape[1]), np.float32)
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        pages = list(corpus([each.text for each in known]))
        rows = {passage_hash(part[0]): n for n, part in enumerate(part for page in pages for part in page.chunks)}
        dense = Dense(embedder.name, embedder.key, embedder.dim, rows, lambda of: (moved[rows[each]] for each in of))
        late = Late(projection, rows, lambda of: (tokens[donors[rows[each]]] for each in of))
        names = {"revision": "1", "chunker": "made-up", "created": "2026-01-01T00:00:00+00:00"}
        start = time.process_time()
        generation.publish(home / "alone", pages, **names, dense=None)
        lexical = time.process_time() - start
        generation.publish(app.settings.folders.store, pages, **names, dense=dense, late=late)
        said = [part.chunks for part in pages]
        (home / "texts.json").write_text(json.dumps([chunk.text for page in said for part in page for chunk in part]))
        np.save(home / "vectors.npy", moved)
        (home / "questions.json").write_text(json.dumps(asked([each.heading for each in known])))
    return {"lexical_build": lexical, "real": len(known)}


def corpus(texts: Sequence[str]) -> Iterator[Any]:
    """Pages of sentences drawn from TEXTS."""
    from ragmacs_srv.model import Block, Chunk, Page, Section
    from ragmacs_srv.search.store import StoredPage

    random = np.random.default_rng(2)
    sentences = [each for text in texts for each in re.split(r"(?<=[.:])\s+", text) if len(each) > 20]
    for number in range(0, CHUNKS, PAGE):
        url = f"https://speed.example/{number}"
        sections, chunks = [], []
        for at in range(number, number + PAGE):
            said = " ".join(random.choice(sentences, SENTENCES))
            text = re.sub(r"\w+", lambda word: own(word[0], number), said)  # noqa: B023 - called at once
            heading = ("Speed", f"Part {at}")
            sections.append(Section(url, f"s{at}", heading, text, (Block("paragraph", 0, len(text)),)))
            chunks.append((Chunk(f"{at}", url, f"s{at}", heading, text, 0, len(text)),))
        page = Page(url, f"Page {number}", tuple(sections))
        yield StoredPage(page, tuple(chunks), ("speed",), "2026-01-01T00:00:00+00:00", url)


def own(word: str, page: int) -> str:
    """WORD, or one in its place that only PAGE has."""
    if zlib.crc32(f"{word} {page}".encode()) % 2:
        return word
    return f"{word}{''.join(chr(97 + int(digit)) for digit in str(page))}"


def asked(headings: Sequence[tuple[str, ...]]) -> list[str]:
    """A hundred questions: what the headings of the handbook are about."""
    about = list(dict.fromkeys(heading[-1] for heading in headings))
    return [f"{('How do I measure', 'What is', 'Why')[n % 3]} {about[n % len(about)].lower()}?" for n in range(100)]


# What one process measures

Kinds = Mapping[str, Callable[[str], object]]


def ours(home: Path) -> dict[str, float]:
    from ragmacs_srv import settings
    from ragmacs_srv.app import App
    from ragmacs_srv.search import retrieve
    from ragmacs_srv.search.terms import terms

    questions = json.loads((home / "questions.json").read_text())
    with App(settings.load(os.environ), os.environ) as app:
        opened, (embedder, _) = app.generation(), app.embedder
        assert embedder is not None and opened.tokens is not None
        kinds: Kinds = {
            "lexical": lambda text: opened.lexical(terms(text), CANDIDATES),
            "encode": lambda text: embedder.embed([text], query=True),
            "dense": lambda text: opened.dense(embedder.embed([text], query=True)[0], CANDIDATES),
            "hybrid": lambda text: retrieve.search(opened, embedder, text, k=K, rerank=False),
            "maxsim": lambda text: retrieve.search(opened, embedder, text, k=K),
        }
        take_turns(kinds, questions)
        memory = {"anon_mb": status("RssAnon"), "mapped_mb": status("RssFile")}
    return {"protocol": protocol(questions), **memory, "torch": float("torch" in sys.modules)}


def protocol(questions: Sequence[str]) -> float:
    """What the way to a server and back costs both ends of a search, whose results are there already; milliseconds."""
    from ragmacs_srv import client
    from tests.real_server import real

    with real(os.environ) as server:
        peer = client.Peer(server.state()["socket"])
        found = peer.call("search", {"query": questions[0], "k": K})
        assert len(found["results"]) == K
        search = dataclasses.replace(server.service.methods["search"], run=lambda call, **_: found)
        server.service.methods = {**server.service.methods, "search": search}
        rounds = [timed(lambda text: peer.call("search", {"query": text, "k": K}), questions) for _ in range(RUNS)]
        peer.close()
    return lowest(rounds)


def theirs(home: Path) -> dict[str, float]:
    import bm25s
    import faiss
    import torch
    from sentence_transformers import SentenceTransformer

    from ragmacs_srv import settings
    from ragmacs_srv.app import App

    torch.set_num_threads(1)
    with App(settings.load(os.environ), os.environ) as app:
        model = SentenceTransformer(str(app.model.path), device="cpu")
    questions, texts = (json.loads((home / f"{name}.json").read_text()) for name in ("questions", "texts"))
    index: Any = faiss.IndexFlatIP(384)
    index.add(np.load(home / "vectors.npy"))
    start = time.process_time()
    words = bm25s.BM25()
    words.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    built = time.process_time() - start

    def encode(text: str) -> Any:
        return model.encode([text], normalize_embeddings=True, show_progress_bar=False)

    def retrieve(text: str) -> None:
        given = bm25s.tokenize(text, stopwords="en", show_progress=False)
        words.retrieve(given, k=CANDIDATES, show_progress=False)

    kinds: Kinds = {
        "encode": encode,
        "dense": lambda text: index.search(encode(text), CANDIDATES),
        "lexical": retrieve,
    }
    take_turns(kinds, questions)
    return {"lexical_build": built, "anon_mb": status("RssAnon"), "mapped_mb": status("RssFile")}


def take_turns(kinds: Kinds, questions: Sequence[str]) -> None:
    """Warm KINDS up; then, for each number on stdin, print what they take for that part of QUESTIONS."""
    for call in kinds.values():
        timed(call, questions[:TURNS])
    for line in sys.stdin:
        part = questions[int(line) :: TURNS]
        print(json.dumps({kind: timed(call, part) for kind, call in kinds.items()}), flush=True)


def timed(call: Callable[[str], object], questions: Sequence[str]) -> list[float]:
    """The CPU time of CALL for each of QUESTIONS, in milliseconds."""
    spent = []
    for question in questions:
        start = time.process_time()
        call(question)
        spent.append(1000 * (time.process_time() - start))
    return spent


def lowest(rounds: Sequence[Sequence[float]]) -> float:
    """The median over the questions of the lowest of their ROUNDS."""
    return float(np.median(np.min(rounds, axis=0)))


def status(field: str) -> float:
    """A line of this process's status, in MB; 0 where there is none."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)


# All of it


def measure(home: Path) -> dict[str, dict[str, float]]:
    """Every figure of both sides: queries in milliseconds of CPU, builds and starts in seconds."""
    environ = {**os.environ, **SETTINGS, "RAGMACS_HOME": str(home), "PYTHONPATH": str(ROOT)}

    def step(name: str) -> list[str]:
        return [sys.executable, str(HERE / "speed.py"), "--home", str(home), "--step", name]

    def started(name: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(step(name), stdin=pipe, stdout=pipe, env=environ, text=True, cwd=ROOT)

    found: dict[str, dict[str, float]] = {"ours": json.loads(last_line(step("make"), environ)), "theirs": {}}
    for side, code in (("ours", READY), ("theirs", IMPORTED)) * RUNS:
        spent = float(last_line([sys.executable, "-c", code], environ))
        found[side]["ready"] = min(spent, found[side].get("ready", spent))
    with started("ours") as mine, started("theirs") as other:
        sides = {"ours": mine, "theirs": other}
        turns = [{side: told(process, turn % TURNS) for side, process in sides.items()} for turn in range(RUNS * TURNS)]
        for side, process in sides.items():
            for kind in turns[0][side]:
                rounds = np.reshape([turn[side][kind] for turn in turns], (RUNS, -1))
                found[side][kind] = lowest(rounds)
            found[side] |= told(process)
    return found


def told(process: subprocess.Popen[str], turn: int | None = None) -> Any:
    """What PROCESS measures in TURN, or what it has to say at its end."""
    assert process.stdin is not None and process.stdout is not None
    if turn is None:
        process.stdin.close()
    else:
        process.stdin.write(f"{turn}\n")
        process.stdin.flush()
    return json.loads(process.stdout.readline())


def last_line(command: Sequence[str], environ: dict[str, str]) -> str:
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return done.stdout.strip().splitlines()[-1]


ROWS = (
    ("ready: import, open, first hybrid query (s)", "ready", "`import sentence_transformers`", "ready"),
    ("encode a question", "encode", "SentenceTransformer.encode", "encode"),
    ("lexical query", "lexical", "bm25s", "lexical"),
    ("lexical build of all (s)", "lexical_build", "bm25s", "lexical_build"),
    ("dense query, encoding included", "dense", "SentenceTransformer + FAISS Flat", "dense"),
    ("hybrid query", "hybrid", "SentenceTransformer.encode", "encode"),
    ("hybrid query with MaxSim", "maxsim", "SentenceTransformer.encode", "encode"),
    ("a search over the socket, without the search", "protocol", "our hybrid query with MaxSim", "maxsim"),
    ("RssAnon after all questions (MB)", "anon_mb", "SentenceTransformer + FAISS + bm25s", "anon_mb"),
    ("mapped (MB)", "mapped_mb", "SentenceTransformer + FAISS + bm25s", "mapped_mb"),
)


def table(found: dict[str, dict[str, float]]) -> str:
    ours, theirs = found["ours"], found["theirs"]
    lines = [f"10,000 chunks made of {ours['real']:.0f} real ones; CPU ms on one thread, the lowest of {RUNS}", ""]
    lines += ["| what | ours | theirs | what that is | ratio |", "| --- | --- | --- | --- | --- |"]
    for what, mine, other, other_key in ROWS:
        pair = ours[mine], (ours if other.startswith("our ") else theirs)[other_key]
        lines.append(f"| {what} | {pair[0]:.2f} | {pair[1]:.2f} | {other} | {pair[0] / pair[1]:.3f} |")
    return "\n".join([*lines, "", f"torch in our sys.modules: {'yes' if ours['torch'] else 'no'}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", choices=["make", "ours", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps({"make": make, "ours": ours, "theirs": theirs}[given.step](given.home)))
        return
    with tempfile.TemporaryDirectory() as home:
        print(table(measure(Path(home))))


if __name__ == "__main__":
    main()
