import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from ragmacs_srv.errors import Busy, IndexCorrupt, RagmacsError, StorageError
from ragmacs_srv.search import generation, soundness
from ragmacs_srv.search.database import TABLES
from ragmacs_srv.search.generation import DENSE, MANIFEST, TEXT
from ragmacs_srv.search.store import CRAWL_DB, Receipt, Store
from ragmacs_srv.search.tokens import OFFSETS, PROJECTION, TOKENS
from tests.search import library
from tests.search.fakes_tokens import TokenHashEmbedder
from tests.search.library import AT, SITE, build, pages, publish, put, written

HEAP = f"{SITE}/heap"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return build(tmp_path_factory.mktemp("made"), words=200, embedder=TokenHashEmbedder())


@pytest.fixture
def folder(made, tmp_path):
    """A sound store, to damage."""
    return shutil.copytree(made, tmp_path / "store")


def rows(folder):
    """Every row of crawl.db, read without any index."""
    with closing(sqlite3.connect(folder / CRAWL_DB)) as db:
        return {table: db.execute(f"SELECT * FROM {table} NOT INDEXED").fetchall() for table in TABLES}


def change(folder, sql, *values):
    with closing(sqlite3.connect(folder / CRAWL_DB)) as db, db:
        assert db.execute(sql, values).rowcount > 0


def flipped(raw, at, rng):
    return raw[:at] + bytes([raw[at] ^ rng.randrange(1, 256)]) + raw[at + 1 :]


def places(folder):
    """(table, position) of bytes of crawl.db that hold part of a row, and nothing else: each cell's are there once."""
    raw = (folder / CRAWL_DB).read_bytes()
    for table, found in rows(folder).items():
        for row in found:
            for cell in row:
                content = (cell.encode() if isinstance(cell, str) else cell if isinstance(cell, bytes) else b"")[:400]
                if len(content) >= 8 and raw.count(content) == 1:
                    yield from ((table, at) for at in range(raw.index(content), raw.index(content) + len(content)))


# Sound stores


@pytest.mark.parametrize("exists", [True, False], ids=["empty", "absent"])
def test_a_store_with_nothing_in_it_is_sound(tmp_path, exists):
    if exists:
        Store(tmp_path / "store").close()
    assert soundness.problems(tmp_path / "store") == []
    assert soundness.repair(tmp_path / "store") == []


def test_a_sound_store_is_left_alone(folder):
    before = (folder / CRAWL_DB).read_bytes()
    assert soundness.problems(folder) == []
    assert soundness.repair(folder) == []
    assert (folder / CRAWL_DB).read_bytes() == before


def test_a_store_at_work_is_not_judged(folder):
    with Store(folder), pytest.raises(Busy):
        soundness.problems(folder)
    with Store(folder), pytest.raises(Busy):
        Store(folder, readonly=True)


def test_a_store_that_may_not_be_written_to_is_judged_all_the_same(folder):
    (folder / "lock").unlink()
    (folder / "lock").mkdir()  # what even root cannot open for writing
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    assert soundness.problems(folder) == []
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before
    change(folder, "UPDATE pages SET title = 'another'")
    assert "pages is not what was written" in soundness.problems(folder)[0]


def test_nothing_is_written_through_a_store_opened_to_be_read(folder):
    with Store(folder, readonly=True) as store, pytest.raises(StorageError):
        store.add_repeats("https://go.example", ["More"])
    assert soundness.problems(folder) == []


# Generations: every byte counts


@pytest.mark.parametrize("name", [TEXT, DENSE, TOKENS, OFFSETS, PROJECTION, MANIFEST])
def test_every_flip_and_every_cut_in_a_generation_is_found(folder, name):
    (folder / CRAWL_DB).unlink()
    path, rng = folder / "gen-000001" / name, random.Random(name)
    raw = path.read_bytes()
    for at in rng.sample(range(len(raw)), 120):
        path.write_bytes(flipped(raw, at, rng))
        assert name in soundness.problems(folder)[0], f"byte {at}"
    for length in [0, len(raw) - 1, *rng.sample(range(len(raw)), 50)]:
        path.write_bytes(raw[:length])
        assert name in soundness.problems(folder)[0], f"cut to {length}"
    path.write_bytes(raw + b"\0")
    assert name in soundness.problems(folder)[0]


def test_another_line_end_in_the_manifest_is_found(folder):
    path = folder / "gen-000001" / MANIFEST
    raw = path.read_bytes()
    for at in (at for at, byte in enumerate(raw) if byte == 0x0A):
        path.write_bytes(raw[:at] + b"\r" + raw[at + 1 :])
        assert soundness.problems(folder)


# crawl.db


@pytest.mark.parametrize("flips", [6, pytest.param(400, marks=pytest.mark.slow)])
def test_every_flip_in_a_row_is_found(folder, flips):
    path, rng = folder / CRAWL_DB, random.Random(7)
    raw, by_table = path.read_bytes(), {}
    for table, at in places(folder):
        by_table.setdefault(table, []).append(at)
    assert by_table.keys() == set(TABLES)
    for table, at in ((each, at) for each in TABLES for at in rng.choices(by_table[each], k=flips)):
        path.write_bytes(flipped(raw, at, rng))
        assert soundness.problems(folder), f"byte {at}, in {table}"


@pytest.mark.parametrize("flips", [5, pytest.param(400, marks=pytest.mark.slow)])
def test_every_flip_in_a_row_is_repaired(folder, flips):
    path, rng, before = folder / CRAWL_DB, random.Random(19), pages(folder)
    raw = path.read_bytes()
    for table, at in rng.sample(list(places(folder)), flips):
        path.write_bytes(flipped(raw, at, rng))
        assert soundness.repair(folder), f"byte {at}, in {table}"
        assert soundness.problems(folder) == []
        kept = pages(folder)
        assert len(kept) >= len(before) - 1
        assert all(before[url].page == page.page and before[url].chunks == page.chunks for url, page in kept.items())


@pytest.mark.parametrize("flips", [8, pytest.param(4000, marks=pytest.mark.slow)])
def test_a_flip_anywhere_is_found_or_changes_no_row(folder, flips):
    """Unused space, and header fields that nobody reads, may hold anything."""
    path, rng, before = folder / CRAWL_DB, random.Random(11), rows(folder)
    raw = path.read_bytes()
    for at in [*range(100), *rng.sample(range(100, len(raw)), flips)]:
        path.write_bytes(flipped(raw, at, rng))
        assert soundness.problems(folder) or rows(folder) == before, f"byte {at}"


@pytest.mark.parametrize("flips", [10, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_flip_is_never_published(folder, flips):
    path, rng, before = folder / CRAWL_DB, random.Random(13), pages(folder)
    raw, refused = path.read_bytes(), 0
    in_rows = [at for _, at in rng.sample(list(places(folder)), flips // 2)]
    for at in [*in_rows, *rng.sample(range(len(raw)), flips // 2)]:
        path.write_bytes(flipped(raw, at, rng))
        try:
            with Store(folder) as store:
                publish(store, TokenHashEmbedder(), force=True)
        except RagmacsError:
            refused += 1
        with generation.current(folder) as opened:
            for url, stored in before.items():
                assert opened.sections(url) == list(stored.page.sections), f"byte {at}"
            assert opened.manifest.collections == {"docs": 4, "guides": 1}
    assert refused


def test_a_page_hidden_by_a_damaged_index_is_not_left_out(folder):
    raw = (folder / CRAWL_DB).read_bytes()
    with closing(sqlite3.connect(folder / CRAWL_DB)) as db:
        [[root]] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'members_url'").fetchall()
    at = (root - 1) * 4096 + 4  # the low byte of the page's cell count
    (folder / CRAWL_DB).write_bytes(raw[:at] + bytes([raw[at] - 1]) + raw[at + 1 :])
    with Store(folder) as store, pytest.raises(IndexCorrupt):
        publish(store, TokenHashEmbedder(), force=True)


# A wrong cell in a row of each table; keys too, which makes an index wrong as well.
CELLS = {
    "collections": "options",
    "pages": "title",
    "sections": "text",
    "chunks": "id",
    "members": "collection",
    "receipts": "reason",
    "repeats": "text",
    "vectors": "vector",
    "projections": "matrix",
    "tokens": "vectors",
    "history": "before",
}


@pytest.mark.slow
@pytest.mark.parametrize("value", ["'wrong'", "NULL", "CAST(x'ff80' AS TEXT)"], ids=["text", "null", "not UTF-8"])
@pytest.mark.parametrize("table", TABLES)
def test_a_wrong_cell_costs_at_most_its_page(folder, table, value):
    before = pages(folder)
    change(folder, f"UPDATE {table} SET {CELLS[table]} = {value} WHERE rowid = (SELECT min(rowid) FROM {table})")
    assert any(f"of {table} is not what was written" in line for line in soundness.problems(folder))
    assert soundness.repair(folder)
    assert soundness.problems(folder) == []
    after = pages(folder)
    lost = before.keys() - after.keys()
    assert len(lost) == (table in {"pages", "sections", "chunks"})
    assert all(after[url] == before[url] for url in after)
    with Store(folder) as store:
        assert publish(store, TokenHashEmbedder(), force=True).pages == len(after)


@pytest.mark.parametrize("table", ["pages", "sections", "chunks"])
def test_a_page_with_a_part_missing_goes_and_is_read_again(folder, table):
    change(folder, f"DELETE FROM {table} WHERE rowid = (SELECT min(rowid) FROM {table} WHERE url = ?)", HEAP)
    assert f"crawl.db: {HEAP} is not complete" in soundness.problems(folder)
    with Store(folder) as store, pytest.raises(IndexCorrupt, match="not complete"):
        publish(store, TokenHashEmbedder(), force=True)
    soundness.repair(folder)
    with Store(folder) as store:
        assert HEAP not in store.urls()
        assert store.receipt("docs", HEAP) is None  # a resumed crawl would not ask again
        assert store.receipt("docs", f"{SITE}/stack") is not None


def test_what_has_no_page_keeps_its_receipt(folder):
    failed = Receipt("docs", f"{SITE}/gone", "failed", "", "404", "", "", 0, AT)
    with Store(folder) as store:
        store.record(failed)
    change(folder, "UPDATE pages SET title = 'wrong' WHERE url = ?", HEAP)
    soundness.repair(folder)
    with Store(folder) as store:
        assert store.receipt("docs", failed.url) == failed


@pytest.mark.parametrize(
    "harm",
    [lambda raw: b"", lambda raw: raw[:50], lambda raw: b"X" + raw[1:], lambda raw: raw[:16] + bytes(4000)],
    ids=["empty", "cut", "other magic", "zeroed header"],
)
def test_a_crawl_db_beyond_repair_is_set_aside_and_search_goes_on(folder, harm):
    path = folder / CRAWL_DB
    path.write_bytes(harm(path.read_bytes()))
    damaged = path.read_bytes()
    assert soundness.problems(folder)
    [said] = soundness.repair(folder)
    assert said == "crawl.db could not be repaired and is now crawl.db.damaged; crawl again: docs guides"
    assert (folder / "crawl.db.damaged").read_bytes() == damaged
    assert soundness.problems(folder) == []
    assert HEAP in library.found(folder, "heap")
    with Store(folder) as store:
        put(store, written("arena"))
        assert publish(store, TokenHashEmbedder()).number == 2


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_of_a_crawl_db_that_was_cut_off_the_whole_pages_are_kept(folder, share):
    before, path = pages(folder), folder / CRAWL_DB
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert soundness.problems(folder)
    soundness.repair(folder)
    assert soundness.problems(folder) == []
    assert all(before[url].page == page.page for url, page in pages(folder).items())
    assert HEAP in library.found(folder, "heap")


@pytest.mark.slow
def test_a_zeroed_block_costs_only_the_pages_in_it(folder):
    before, path, kept = pages(folder), folder / CRAWL_DB, []
    raw = path.read_bytes()
    for start in range(4096, len(raw), 4096 * 9):
        path.write_bytes(raw[:start] + bytes(4096) + raw[start + 4096 :])
        soundness.repair(folder)
        assert soundness.problems(folder) == []
        after = pages(folder)
        assert all(before[url].page == page.page for url, page in after.items())
        kept.append(len(after))
    assert sum(kept) > 0.6 * len(before) * len(kept)


def test_a_damaged_generation_goes_and_is_made_again(folder):
    (folder / "gen-000001" / DENSE).write_bytes(b"")
    assert soundness.repair(folder) == ["gen-000001 was damaged and is gone"]
    assert soundness.problems(folder) == []
    with Store(folder) as store:
        assert publish(store, TokenHashEmbedder()).number == 1
    assert HEAP in library.found(folder, "heap")


# Killed at any moment

# Forks a child for every line it reads. A child stores and publishes pages until its timer, whose signal nobody
# catches, or its last file operation ends it: at once, as kill -9 does.
NURSERY = """
import os, signal, sys
from pathlib import Path
from ragmacs_srv.search.store import Store
from tests.search.fakes_tokens import TokenHashEmbedder
from tests.search.library import publish, put, written

FILES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "sqlite3.connect", "fcntl.flock"}

def work(folder, rounds, seed):
    embedder = TokenHashEmbedder()
    with Store(folder) as store:
        for n in range(rounds):
            put(store, written(f"page{(seed + n) % 40}", seed, words=40))
            publish(store, embedder)

def die_before(operations):
    left = [operations]
    def watch(event, args):
        if event in FILES:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)

for line in sys.stdin:
    kind, moment, seed = line.split()
    child = os.fork()
    if child == 0:
        if kind == "timer":
            signal.setitimer(signal.ITIMER_REAL, float(moment))
        else:
            die_before(int(moment))
        work(Path(sys.argv[1]), 10**6 if kind == "timer" else 1, int(seed))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nursery:
    """Children that die while they write to FOLDER."""

    def __init__(self, folder):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self.process = subprocess.Popen([sys.executable, "-c", NURSERY, folder], **pipes)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()

    def raise_one(self, kind, moment, seed):
        """How the child ended: 0, or minus the signal that killed it."""
        self.process.stdin.write(f"{kind} {moment} {seed}\n")
        return int(self.process.stdout.readline())


def judged(folder):
    """(pages stored, pages searched) of a store that must be sound."""
    assert soundness.problems(folder) == []
    with Store(folder) as store:
        stored, _ = store.count()
    opened = generation.current(folder)
    if opened is None:
        return stored, 0
    with opened:
        assert opened.lexical(["heap"], 5)
        return stored, opened.manifest.pages


@pytest.mark.parametrize("kills", [5, pytest.param(500, marks=pytest.mark.slow)])
def test_a_writer_may_be_killed_at_any_moment(tmp_path, kills):
    build(tmp_path)
    rng, before, n = random.Random(17), judged(tmp_path), 0
    with Nursery(tmp_path) as nursery:
        while n < kills or before[0] <= 4:  # on a busy machine some die before they have written
            assert nursery.raise_one("timer", rng.uniform(0.001, 0.04), n) < 0
            after = judged(tmp_path)
            assert after >= before, "committed pages are gone"
            assert after[1] >= before[1], "published pages are gone"
            assert len(list(tmp_path.iterdir())) < 10
            before, n = after, n + 1


@pytest.mark.parametrize("step", [60, pytest.param(1, marks=pytest.mark.slow)])
def test_a_writer_may_be_killed_before_any_file_operation(tmp_path, step):
    build(tmp_path)
    before = judged(tmp_path)
    with Nursery(tmp_path) as nursery:
        for operations in range(0, 1000, step):
            end = nursery.raise_one("operation", operations, operations)
            after = judged(tmp_path)
            assert after >= before, f"killed before operation {operations}"
            assert after[1] >= before[1]
            before = after
            if end == 0:
                break
    assert 20 < operations < 900
    assert before[0] == before[1]
