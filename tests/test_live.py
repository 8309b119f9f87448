"""Search is there at once: while pages are read, while they are embedded, and when the embedder is slow or missing."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ragmacs_srv import settings
from ragmacs_srv.app import App
from ragmacs_srv.errors import Cancelled
from ragmacs_srv.events import Cancel, Progress
from ragmacs_srv.holdings import GROWN_VECTORS, SOON
from ragmacs_srv.model import Answer as Reply
from ragmacs_srv.search import generation
from ragmacs_srv.search.embed import Embedder, Words
from ragmacs_srv.search.store import Store
from tests.conftest import Cli, Run
from tests.fakes import HashEmbedder, StuckEmbedder
from tests.search.fakes_tokens import TokenHashEmbedder
from tests.search.library import page, put, written
from tests.servers import Answer, Site, Visit, serve

QUESTION = "Why is my heap about twice as large as my live data?"


class LiveApp(App):
    """An App whose embedding model is a stand-in."""

    def __init__(self, engine: Embedder, **options: object) -> None:
        environ = {key: os.environ[key] for key in ("RAGMACS_HOME", "PATH")}
        super().__init__(settings.load(environ, options.pop("flags", {})), environ, **options)  # type: ignore[arg-type]
        self.engine = engine

    @property
    def model(self) -> Embedder:  # type: ignore[override]
        return self.engine

    @property
    def tokens(self) -> Words:  # type: ignore[override]
        return Words()

    def _engine(self, *, wait: bool = True) -> Embedder:
        return self.engine


@pytest.fixture
def folder(home: Path) -> Path:
    return home / "store"


def fill(folder: Path, *names: str) -> int:
    """Put pages of random words into the store, as crawls do; returns how many chunks there are."""
    with Store(folder) as store:
        for name in names:
            put(store, written(name, sections=20))
        return store.count()[1]


def test_all_text_can_be_searched_before_the_first_vector_is_made(folder: Path) -> None:
    chunks = fill(folder, "heap", "stack")
    assert chunks > SOON
    seen: list[generation.Manifest | None] = []

    class Watching(HashEmbedder):
        def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
            seen.append(generation.newest_manifest(folder))
            return super().embed(texts, query=query)

    with LiveApp(Watching()) as app:
        made = app.reindex()
    assert seen[0] is not None
    assert (seen[0].chunks, seen[0].vectors, seen[0].model_key) == (chunks, 0, "")
    assert (made.chunks, made.vectors) == (chunks, chunks)


@pytest.mark.slow
def test_vectors_are_shown_as_they_come(folder: Path) -> None:
    chunks = fill(folder, *(f"p{n}" for n in range(8)))
    shown: list[int] = []

    def watch(progress: Progress) -> None:
        made = generation.newest_manifest(folder)
        shown.append(made.vectors if made else -1)

    with LiveApp(HashEmbedder(), sink=watch) as app:
        app.reindex()
    steps = sorted(set(shown))
    assert steps[0] == 0
    assert len([each for each in steps if 0 < each < chunks]) >= 2
    assert min(each for each in steps if each) >= GROWN_VECTORS


def lexically_reindexed() -> generation.Manifest:
    """Publish what is stored without making a vector."""
    with LiveApp(HashEmbedder(), flags={"search.mode": "lexical"}) as app:
        return app.reindex()


@pytest.mark.slow
@pytest.mark.parametrize(("pages", "mode"), [(1, "hybrid"), (4, "lexical")], ids=["a few are missing", "many are"])
def test_a_search_says_how_much_has_vectors(folder: Path, pages: int, mode: str) -> None:
    fill(folder, *(f"p{n}" for n in range(12)))
    with LiveApp(HashEmbedder()) as app:
        app.reindex()
    fill(folder, *(f"new{n}" for n in range(pages)))
    made = lexically_reindexed()
    share = f"vectors for {made.vectors:,} of {made.chunks:,} chunks"
    with LiveApp(HashEmbedder()) as app:
        results = app.search("heap collector")
        *_, answer = app.ask("heap collector")
        assert (results.mode, results.reason) == (mode, f"{share}; run: ragmacs reindex")
        assert isinstance(answer, Reply)
        assert answer.mode == mode
        assert len([note for note in answer.notes if share in note]) == 1
        with Store(folder):
            assert app.search("heap collector").reason == f"{share} so far"


@pytest.mark.slow
def test_a_chunk_without_a_vector_is_found_among_those_that_have_one(folder: Path) -> None:
    fill(folder, *(f"p{n}" for n in range(12)))
    with LiveApp(HashEmbedder()) as app:
        app.reindex()
    with Store(folder) as store:
        put(store, page("novel", "The write barrier shades an object grey."))
    lexically_reindexed()
    with LiveApp(HashEmbedder()) as app:
        results = app.search("Which object does the write barrier shade?")
    assert results.mode == "hybrid"
    assert results.hits[0].section.url.endswith("/novel")


def test_what_was_embedded_before_a_stop_is_not_embedded_again(folder: Path) -> None:
    chunks = fill(folder, *(f"p{n}" for n in range(8)))
    cancel, first, second = Cancel(), HashEmbedder(), HashEmbedder()

    def stop(progress: Progress) -> None:
        if progress.done > 100:
            cancel.cancel()

    with LiveApp(first, sink=stop, cancel=cancel) as app, pytest.raises(Cancelled):
        app.reindex()
    with LiveApp(second) as app:
        made = app.reindex()
    assert first.texts
    assert not set(first.texts).intersection(second.texts)
    assert made.vectors == chunks


def test_new_pages_never_cost_a_collection_its_vectors(folder: Path) -> None:
    before = fill(folder, *(f"p{n}" for n in range(8)))
    with LiveApp(HashEmbedder()) as app:
        app.reindex()
    chunks = fill(folder, "new1", "new2")
    least: list[int] = []

    def watch(progress: Progress) -> None:
        made = generation.newest_manifest(folder)
        least.append(made.vectors if made else -1)

    with LiveApp(HashEmbedder(), sink=watch) as app:
        made = app.reindex()
    assert min(least) == before
    assert made.vectors == chunks


def test_another_model_takes_the_place_of_the_old_one(folder: Path) -> None:
    chunks = fill(folder, "heap", "stack")
    for name in ("old", "new"):
        with LiveApp(TokenHashEmbedder(name=name)) as app:
            made = app.reindex()
            assert (made.model, made.vectors) == (name, chunks)
            assert app.search("heap collector").mode == "hybrid"


def test_a_lexical_crawl_keeps_the_vectors_that_are_there(folder: Path) -> None:
    before = fill(folder, "heap", "stack")
    with LiveApp(TokenHashEmbedder()) as app:
        app.reindex()
    chunks = fill(folder, "pool")
    with LiveApp(TokenHashEmbedder(), flags={"search.mode": "lexical"}) as app:
        made = app.reindex()
        assert app.engine.calls == 0  # type: ignore[attr-defined]
    assert (made.chunks, made.vectors) == (chunks, before)
    assert made.projection


# Slow


def test_a_stuck_embedder_costs_the_vectors_and_not_the_answer(folder: Path) -> None:
    fill(folder, "heap")
    with LiveApp(HashEmbedder(name="stuck")) as app:
        app.reindex()
    stuck = StuckEmbedder()
    try:
        with LiveApp(stuck, flags={"search.deadline": 0.05}) as app:
            for _ in range(2):
                results = app.search("heap collector")
                assert (results.mode, bool(results.hits)) == ("lexical", True)
                assert "stuck did not answer within 0.05 s" in results.reason
            *_, answer = app.ask("heap collector")
            assert isinstance(answer, Reply)
            assert (answer.mode, answer.abstained) == ("lexical", False)
            assert stuck.waited == 1
    finally:
        stuck.let_go.set()


def test_an_embedder_that_gets_stuck_at_the_quotes_costs_only_their_likeness(folder: Path) -> None:
    class Second(StuckEmbedder):
        def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
            return HashEmbedder.embed(self, texts) if query else super().embed(texts)

    fill(folder, "heap")
    with LiveApp(HashEmbedder(name="stuck")) as app:
        app.reindex()
    stuck = Second()
    try:
        with LiveApp(stuck, flags={"search.deadline": 0.05}) as app:
            *_, answer = app.ask("heap collector")
        assert isinstance(answer, Reply)
        assert answer.mode == "hybrid"
        assert answer.citations
        assert any("by their words only" in note for note in answer.notes)
    finally:
        stuck.let_go.set()


def test_a_process_ends_though_its_embedder_does_not() -> None:
    code = (
        "import threading, ragmacs_srv.cli as cli\n"
        "def main():\n"
        "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "    print('answer'); raise SystemExit(3)\n"
        "cli.main = main; cli.run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, "answer\n", "")


# The handbook, while nothing is indexed


def test_a_question_during_the_first_crawl_is_answered_from_the_handbook(run: Cli, home: Path) -> None:
    with Store(home / "store"):
        done = run("ask", QUESTION)
    assert done.code == 0
    assert "<handbook:gogc-and-gomemlimit#" in done.out


@pytest.mark.slow
def test_pages_can_be_searched_while_a_crawl_goes_on(run: Cli, ragmacs: Run) -> None:
    def answer(visit: Visit) -> Answer | bytes | None:
        if visit.path == "/last":
            visit.hang()
            return None
        if visit.path == "/robots.txt":
            return Answer(status=404)
        links = "".join(f'<a href="/p{n}">page {n}</a> ' for n in range(30)) + '<a href="/last">the last</a>'
        words = " ".join(f"The collector marks object {visit.path} {n} and moves on to the next." for n in range(80))
        return f"<article><h1>{visit.path}</h1><p>{words}</p><p>{links}</p></article>".encode()

    with serve(answer) as site:
        command = [sys.executable, "-m", "ragmacs_srv", "crawl", f"{site.origin}/", "--allow", site.origin]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as crawl:
            while "/last" not in site.asked:
                assert crawl.poll() is None
            done = run("search", "object", "--json")
            crawl.terminate()
    assert done.code == 0
    assert done.json["results"][0]["url"].startswith(site.origin)


def test_the_handbook_stays_out_of_a_store_that_did_not_ask_for_it(run: Cli, site: Site) -> None:
    assert run("ask", QUESTION).code == 0
    run("crawl", f"{site.origin}/a", "--depth", "0", "--name", "mine", "--allow", site.origin)
    assert run("status", "--json").json["index"]["collections"] == {"mine": 1}


def test_the_handbook_can_be_asked_by_name_where_it_is_not_indexed(run: Cli, site: Site) -> None:
    run("crawl", f"{site.origin}/a", "--depth", "0", "--name", "mine", "--allow", site.origin)
    assert "<handbook:" in run("ask", QUESTION, "-c", "handbook").out
    assert "<handbook:" not in run("ask", QUESTION).out


# What is not ready


def prepared(home: Path) -> None:
    """Return when the process that prepares the model has ended: it holds a lock."""
    with (home / "cache" / "prepare.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)


def test_who_is_willing_to_wait_gets_vectors_for_the_handbook_too(home: Path) -> None:
    with LiveApp(HashEmbedder(), flags={"search.deadline": 0.0}) as app:
        assert app.search(QUESTION).mode == "hybrid"
    assert not (home / "store").exists()


@pytest.mark.model
def test_what_is_not_ready_is_made_ready_aside_while_words_answer(ragmacs: Run, home: Path) -> None:
    first = ragmacs("ask", QUESTION)
    assert first.returncode == 0
    assert "[1]" in first.stdout
    assert "the handbook is being prepared (ragmacs model prepare waits for it)" in first.stderr
    assert not list(home.glob("cache/onnx/*/export.json"))
    prepared(home)
    assert "(hybrid" in ragmacs("ask", QUESTION).stderr
    (made,) = home.glob("cache/onnx/*/export.json")
    made.unlink()
    assert "the model is being prepared (ragmacs model prepare waits for it)" in ragmacs("search", "heap").stderr
    prepared(home)
    assert "lexical" not in ragmacs("search", "heap").stderr
