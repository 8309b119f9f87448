import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from ragmacs_srv import pipeline
from ragmacs_srv.errors import Busy, IndexCorrupt, IndexMismatch, StorageError
from ragmacs_srv.search import generation, soundness
from ragmacs_srv.search.database import mapped, writer
from ragmacs_srv.search.store import CRAWL_DB, Receipt, Store, passage_hash
from tests.fakes import HashEmbedder
from tests.search import library
from tests.search.library import AT, SITE, build, page, pages, publish, put, split, written


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as store:
        yield store


def rows(folder, table):
    with closing(sqlite3.connect(folder / CRAWL_DB)) as db:
        return db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()


# Pages


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(library.any_page())
def test_a_page_comes_back_as_it_was_put(store, made):
    page, chunks = made
    put(store, page, chunks=chunks)
    stored = store.page(page.url)
    assert stored.page == page
    assert stored.chunks == tuple(map(tuple, chunks))
    assert not list(store.problems())


def test_a_page_put_again_leaves_nothing_of_the_old_one(store):
    put(store, written("heap", sections=5))
    put(store, page("heap", "One short section."))
    assert store.page(f"{SITE}/heap").page == page("heap", "One short section.")
    assert store.count() == (1, 1)


@pytest.mark.parametrize("before", [None, written("heap", seed=1)], ids=["new", "known"])
def test_putting_a_page_is_all_or_nothing(store, before):
    put(store, written("stack"))
    if before:
        put(store, before)
    revision, receipts = store.revision(), list(store.receipts("docs"))
    unstorable = split(written("heap"))
    unstorable[-1][-1] = replace(unstorable[-1][-1], end=2**70)  # no SQLite integer: the last row fails
    with pytest.raises(OverflowError):
        put(store, written("heap"), chunks=unstorable, status="changed")
    assert store.revision() == revision
    assert list(store.receipts("docs")) == receipts
    assert not before or store.page(before.url).page == before
    put(store, written("heap"))
    assert store.page(f"{SITE}/heap").page == written("heap")


def test_a_page_of_two_collections_survives_the_removal_of_one(store):
    for collection in ("docs", "guides"):
        put(store, written("heap"), collection)
    put(store, written("stack"))
    assert store.page(f"{SITE}/heap").collections == ("docs", "guides")
    assert store.remove_collection("docs") == 1
    assert store.urls() == [f"{SITE}/heap"]
    assert store.page(f"{SITE}/heap").collections == ("guides",)
    assert store.remove_collection("guides") == 1
    assert store.count() == (0, 0)


@pytest.mark.parametrize(
    ("remove", "left"),
    [
        (lambda store: store.remove_url(f"{SITE}/heap"), ["stack"]),
        (lambda store: store.remove_receipts("docs", [f"{SITE}/stack"]), ["heap"]),
        (lambda store: store.remove_receipts("docs", [f"{SITE}/heap"]), ["heap", "stack"]),
        (lambda store: store.remove_receipts("docs", [f"{SITE}/unknown"]), ["heap", "stack"]),
    ],
    ids=["url", "only member", "one of two members", "unknown"],
)
def test_what_is_removed_takes_only_its_own_pages(store, remove, left):
    for name, collection in (("heap", "docs"), ("heap", "guides"), ("stack", "docs")):
        put(store, written(name), collection)
    assert remove(store) == 2 - len(left)
    assert store.urls() == [f"{SITE}/{name}" for name in left]
    assert store.count()[0] == len(left)
    assert not list(store.problems())


def test_a_page_stays_while_another_address_leads_to_it(store):
    put(store, written("heap"))
    store.record(Receipt("docs", f"{SITE}/old", "alias", f"{SITE}/heap", "redirect", "", "", 1, AT))
    assert store.remove_receipts("docs", [f"{SITE}/heap"]) == 0
    assert store.remove_receipts("docs", [f"{SITE}/old"]) == 1


def test_an_address_with_another_page_lets_go_of_its_own(store):
    put(store, written("heap"))
    put(store, written("stack"))
    alias = Receipt("docs", f"{SITE}/heap", "alias", f"{SITE}/stack", "redirect", "", "", 1, AT)
    store.record(replace(alias, url=f"{SITE}/old", page=f"{SITE}/heap"))
    store.record(alias)
    assert store.urls() == [f"{SITE}/heap", f"{SITE}/stack"]  # the old address still leads to it
    store.record(replace(alias, url=f"{SITE}/old"))
    assert store.urls() == [f"{SITE}/stack"]
    assert not list(store.problems())


def test_a_rewritten_page_keeps_all_but_its_text(store):
    put(store, written("heap"), recipe="old")
    known, other = store.validators(f"{SITE}/heap"), page("heap", "Another text.")
    store.rewrite_page(other.url, other.sections, split(other), chunker="new")
    assert store.page(other.url).page == replace(written("heap"), sections=other.sections)
    assert store.validators(other.url) == replace(known, chunker="new")


def test_what_is_known_of_a_page(store):
    put(store, written("heap"), etag='"7"', marks="abc", recipe="old")
    known = store.validators(f"{SITE}/heap")
    assert (known.etag, known.body_hash, known.chunker) == ('"7"', 'body"7"', "old")
    assert known.links == (f"{SITE}/next",)
    assert store.page_with_text("abc") == f"{SITE}/heap"
    assert store.other_chunkers("new") == [f"{SITE}/heap"]
    assert (store.validators(f"{SITE}/other"), store.page_with_text("xyz"), store.other_chunkers("old")) == (
        None,
        "",
        [],
    )


def test_unmarked_pages_are_those_of_just_one_site(store):
    for origin in ("https://a_b.example", "https://aXb.example", "https://a_b.example.org", "https://a_b.example:80"):
        put(store, replace(written("heap"), url=f"{origin}/doc", marked=False, sections=()))
    put(store, replace(written("heap"), url="https://a_b.example/marked", sections=()))
    assert store.unmarked("https://a_b.example") == ["https://a_b.example/doc"]


# Revisions: one changes when, and only when, a generation would


@pytest.mark.parametrize(
    "change",
    [
        lambda store: put(store, written("limit")),
        lambda store: put(store, written("heap"), at="2026-03-02T12:00:00+00:00"),
        lambda store: put(store, written("stack"), "guides"),
        lambda store: store.remove_url(f"{SITE}/stack"),
        lambda store: store.remove_receipts("guides", [f"{SITE}/heap"]),
        lambda store: store.rewrite_page(f"{SITE}/heap", *_renamed(written("heap")), chunker="r"),
        lambda store: store.rewrite_page(f"{SITE}/heap", *_halved(written("heap")), chunker="r"),
    ],
    ids=["new page", "read again", "joins", "removed", "leaves", "other heading", "other text"],
)
def test_the_revision_changes_when_a_generation_would(store, change):
    for name, collection in (("heap", "docs"), ("heap", "guides"), ("stack", "docs")):
        put(store, written(name), collection, recipe="r")
    before = store.revision()
    change(store)
    assert store.revision() != before


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.record(
            Receipt("docs", f"{SITE}/heap", "unchanged", f"{SITE}/heap", "", "", "", 0, "later")
        ),
        lambda store: store.record(Receipt("docs", f"{SITE}/gone", "failed", "", "404", "", "", 0, "later")),
        lambda store: store.put_vectors("m", ["0" * 32], np.ones((1, 4), np.float32)),
        lambda store: store.finish_crawl("docs", "later"),
        lambda store: store.add_repeats("https://go.example", ["Share"]),
        lambda store: put(store, written("heap"), recipe="r"),
        lambda store: store.remove_receipts("docs", [f"{SITE}/unknown"]),
    ],
    ids=["unchanged", "failed", "vectors", "finished", "repeats", "the same again", "nothing removed"],
)
def test_the_revision_stays_when_a_generation_would(store, change):
    store.start_crawl(library.source("docs"), {}, AT)
    put(store, written("heap"), recipe="r")
    before = store.revision()
    change(store)
    assert store.revision() == before


def _renamed(page):
    sections = tuple(replace(each, heading=(*each.heading[:-1], "Renamed")) for each in page.sections)
    return sections, split(replace(page, sections=sections))


def _halved(page):
    sections = page.sections[:2]
    return sections, split(replace(page, sections=sections))


# Crawls, repeats, vectors


def test_a_crawl_that_did_not_finish_is_resumed(store):
    source = library.source("docs")
    assert store.start_crawl(source, {"allow": []}, "t1") == "t1"
    assert store.start_crawl(source, {"allow": []}, "t2") == "t1"
    assert store.start_crawl(source, {"allow": ["http://127.0.0.1"]}, "t3") == "t3"
    assert store.start_crawl(replace(source, depth=9), {"allow": []}, "t4") == "t4"
    store.finish_crawl("docs", "t5")
    assert store.start_crawl(replace(source, depth=9), {"allow": []}, "t6") == "t6"


def test_a_clock_that_went_back_leaves_no_crawl_unfinished(store):
    source = library.source("docs")
    store.start_crawl(source, {}, "t5")
    store.finish_crawl("docs", "t3")
    assert store.start_crawl(source, {}, "t6") == "t6"


def test_what_leaves_costs_the_same_however_many_stay(tmp_path):
    costs = []
    for number in (20, 400):
        with Store(tmp_path / str(number)) as store:
            store.start_crawl(library.source("docs"), {}, AT)
            for n in range(number):
                url = f"{library.SITE}/{n}"
                store.record(Receipt("docs", url, "new", url, "", "", "", 0, AT))
            steps = []
            store._db.set_progress_handler(partial(steps.append, 1), 1)
            assert len(store.receipts_with("docs", f"{library.SITE}/7")) == 1
            store.remove_receipts("docs", [f"{library.SITE}/7"])
            costs.append(len(steps))
            store._db.set_progress_handler(None, 1)
    assert costs[1] < 1.5 * costs[0]


def test_a_collection_keeps_its_source_and_options(store):
    store.start_crawl(library.source("docs"), {"allow": ["http://127.0.0.1:1"], "mirror": []}, AT)
    assert store.collection("docs") == (library.source("docs"), {"allow": ["http://127.0.0.1:1"], "mirror": []})
    assert store.collections() == [("docs", "Docs", False)]
    store.finish_crawl("docs", AT)
    assert store.collections() == [("docs", "Docs", True)]
    assert store.collection("other") is None


def test_the_last_receipt_of_an_address_is_kept(store):
    first = Receipt("docs", f"{SITE}/a", "failed", "", "timeout", "", "", 2, "t1")
    last = replace(first, status="gone", at="t2")
    store.record(first)
    store.record(last)
    assert list(store.receipts("docs")) == [last]
    assert store.receipt("docs", first.url) == last
    assert store.receipt("guides", first.url) is None


def test_repeated_lines_are_kept_by_site(store):
    store.add_repeats("https://a.example", ["Share", "Share", "Tweet"])
    assert store.repeats("https://a.example") == {"Share", "Tweet"}
    assert store.repeats("https://b.example") == set()


def test_vectors_come_back_in_the_order_asked_for(store):
    vectors = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    store.put_vectors("m", ["a", "b", "c"], vectors)
    assert np.array_equal(np.stack(list(store.vectors("m", ["c", "a", "c"]))), vectors[[2, 0, 2]])
    assert store.known_vectors("m") == {"a", "b", "c"}
    assert store.known_vectors("other") == set()


def test_a_vector_that_is_missing_is_never_skipped(store):
    store.put_vectors("m", ["a"], np.ones((1, 4), np.float32))
    with pytest.raises(IndexCorrupt, match="missing"):
        list(store.vectors("m", ["a", "b"]))


def test_vectors_nothing_needs_are_dropped(store):
    for model in ("m", "other"):
        store.put_vectors(model, ["a", "b"], np.ones((2, 4), np.float32))
    store.drop_vectors("m", keep={"b", "z"})
    assert (store.known_vectors("m"), store.known_vectors("other")) == ({"b"}, set())


def test_a_passage_is_embedded_once_wherever_it_stands(tmp_path):
    embedder = HashEmbedder()
    build(tmp_path, embedder=embedder)
    texts = set(embedder.texts)
    assert len(texts) == len(embedder.texts)
    with Store(tmp_path) as store:
        put(store, written("heap"), at="later")
        publish(store, embedder)
        assert store.known_vectors(embedder.key) == {
            passage_hash(chunk) for url in store.urls() for chunks in store.page(url).chunks for chunk in chunks
        }
    assert len(embedder.texts) == len(texts)


# One writer


def test_a_second_writer_is_told_who_writes(tmp_path):
    with Store(tmp_path), pytest.raises(Busy, match=f"pid {os.getpid()}\\b"):
        Store(tmp_path)
    Store(tmp_path).close()


def test_readers_do_not_mind_a_writer(tmp_path):
    build(tmp_path)
    with Store(tmp_path) as store:
        put(store, written("arena"))
        assert library.found(tmp_path, "heap")
        assert writer(tmp_path) == os.getpid()
    assert writer(tmp_path) == 0


def test_a_store_that_another_program_holds_is_busy_not_damaged(tmp_path):
    build(tmp_path)
    with closing(sqlite3.connect(tmp_path / CRAWL_DB)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with closing(sqlite3.connect(tmp_path / CRAWL_DB, timeout=0)) as db, pytest.raises(Busy), mapped():
            db.execute("SELECT * FROM pages")


def test_using_a_closed_store_is_not_called_damage(tmp_path):
    store = Store(tmp_path)
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store.validators(f"{SITE}/heap")


# Stores that cannot be used


def test_a_store_of_a_newer_ragmacs_is_refused_and_left_alone(tmp_path):
    build(tmp_path)
    with closing(sqlite3.connect(tmp_path / CRAWL_DB)) as db:
        db.execute("PRAGMA user_version = 99")
    before = (tmp_path / CRAWL_DB).read_bytes()
    with pytest.raises(IndexMismatch, match="schema 99") as error:
        Store(tmp_path)
    assert "upgrade" in error.value.hint
    with pytest.raises(IndexMismatch):
        soundness.repair(tmp_path)
    assert (tmp_path / CRAWL_DB).read_bytes() == before
    assert writer(tmp_path) == 0


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100], ids=["empty", "no database"])
def test_a_file_that_is_no_store_is_never_taken_for_an_empty_one(tmp_path, content):
    (tmp_path / CRAWL_DB).write_bytes(content)
    with pytest.raises(IndexCorrupt) as error:
        Store(tmp_path)
    assert error.value.hint == "ragmacs verify --repair"
    assert (tmp_path / CRAWL_DB).read_bytes() == content


def test_the_journal_of_a_store_that_is_gone_is_not_played_into_a_new_one(tmp_path):
    build(tmp_path)
    with closing(sqlite3.connect(tmp_path / CRAWL_DB, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")  # spill to disk, so that the journal is hot
        db.execute("BEGIN")
        db.execute("UPDATE sections SET text = text || hex(zeroblob(9000))")
        journal = (tmp_path / "crawl.db-journal").read_bytes()
    (tmp_path / CRAWL_DB).unlink()
    (tmp_path / "crawl.db-journal").write_bytes(journal)
    with Store(tmp_path) as store:
        assert store.count() == (0, 0)
    assert soundness.problems(tmp_path) == []


def test_a_transaction_that_was_cut_off_is_rolled_back(tmp_path):
    build(tmp_path)
    before, other = pages(tmp_path), tmp_path / "other"
    other.mkdir()
    with closing(sqlite3.connect(tmp_path / CRAWL_DB, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN")
        db.execute("UPDATE sections SET text = text || hex(zeroblob(9000))")
        for name in (CRAWL_DB, "crawl.db-journal"):
            shutil.copy(tmp_path / name, other / name)
    assert (other / CRAWL_DB).read_bytes() != (tmp_path / CRAWL_DB).read_bytes()
    assert pages(other) == before
    assert soundness.problems(other) == []


# Disks


@pytest.mark.parametrize(
    ("job", "limit", "named"),
    [
        (lambda folder: Store(folder).close(), 0, "lock"),
        (lambda folder: _put(folder, written("arena", words=5000)), 150_000, "crawl.db"),
        (lambda folder: _publish(folder, HashEmbedder(dim=2000)), 150_000, "crawl.db"),
        (lambda folder: _publish(folder, None), 20_000, "text.db"),
        (lambda folder: _publish(folder, HashEmbedder(dim=500)), 75_000, "dense.faiss"),
        (lambda folder: _publish(folder, None), 0, "lock"),
    ],
    ids=["lock", "page", "vectors", "text", "faiss", "nothing"],
)
def test_a_full_disk_is_one_line_and_harms_nothing(tmp_path, capfd, job, limit, named):
    build(tmp_path)
    with Store(tmp_path) as store:
        pipeline.embed(store, HashEmbedder(dim=500))
    before = pages(tmp_path)
    with library.disk_of(limit), pytest.raises(StorageError) as error:
        job(tmp_path)
    assert named in error.value.message
    assert "\n" not in error.value.message
    assert "disk" in error.value.hint
    assert capfd.readouterr() == ("", "")
    assert soundness.problems(tmp_path) == []
    assert pages(tmp_path) == before
    assert library.found(tmp_path, "heap")
    assert not list(tmp_path.glob("*.tmp"))
    with Store(tmp_path) as store:
        put(store, written("arena"))
        assert publish(store, HashEmbedder()).pages == len(before) + 1


def _put(folder, page):
    with Store(folder) as store:
        put(store, page)


def _publish(folder, embedder):
    with Store(folder) as store:
        publish(store, embedder, force=True)


READ_ONLY = """
import json, sys
from pathlib import Path
from ragmacs_srv.errors import StorageError
from ragmacs_srv.search.store import Store
from tests.search.library import found, put, written
folder = Path(sys.argv[1])
said = []
try:
    with Store(folder) as store:
        put(store, written("arena"))
except StorageError as exc:
    said = [exc.message, exc.hint]
print(json.dumps([found(folder, "heap"), *said]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("lock", [0o600, 0o400], ids=["folder", "files too"])
def test_a_read_only_store_is_searched_and_says_why_it_cannot_be_written(tmp_path, lock):
    build(tmp_path)
    (tmp_path / "lock").chmod(lock)
    tmp_path.chmod(0o500)
    powerless = []  # root may write anywhere, unless it gives up the right to
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root without setpriv (util-linux) cannot be kept from writing")
        powerless = ["setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override"]
    try:
        command = [*powerless, sys.executable, "-c", READ_ONLY, tmp_path]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    finally:
        tmp_path.chmod(0o700)
    found, message, hint = json.loads(run.stdout)
    assert f"{SITE}/heap" in found
    assert "\n" not in message
    assert "rights" in hint
    assert soundness.problems(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        Store(tmp_path / "file" / "store")
    assert generation.current(tmp_path / "file" / "store") is None
