from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ragmacs_srv.errors import InvalidParams
from ragmacs_srv.model import Section
from ragmacs_srv.search import history
from ragmacs_srv.search import store as store_module
from ragmacs_srv.search.database import MIGRATIONS
from ragmacs_srv.search.history import LONGEST, Change, compared, worded
from ragmacs_srv.search.store import CRAWL_DB, Store, look
from tests.search import library

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)


def section(text: str, anchor: str = "", heading: str = "") -> Section:
    return Section("https://go.example/", anchor, ("Title", heading or anchor or text), text, ())


A, B, C = section("one", "a"), section("two", "b"), section("three", "c")


def changes(old: list[Section], new: list[Section]) -> list[tuple[str, str, str, str]]:
    found = compared(old, new, url="https://go.example/", at="t", collection="docs")
    return [(each.change, each.anchor, each.before, each.after) for each in found]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ([A, B], [A, B], []),
        ([A, B], [B, A], []),
        ([A], [section("one", "moved")], []),
        ([A], [section(" one\n", "a")], []),
        ([A, B], [A, section("2", "b")], [("changed", "b", "two", "2")]),
        ([A, section("x", "", "H")], [A, section("y", "", "H")], [("changed", "", "x", "y")]),
        ([section("x", "", "Old"), A], [section("y", "", "New"), A], [("changed", "", "x", "y")]),
        ([A, section("x", "old", "H")], [A, section("y", "new", "H")], [("changed", "new", "x", "y")]),
        ([A], [A, C], [("new", "c", "", "three")]),
        ([A, C], [A], [("removed", "c", "three", "")]),
        ([A, A], [A], [("removed", "a", "one", "")]),
    ],
    ids=[
        *(
            "the same",
            "order",
            "anchor",
            "blanks",
            "by anchor",
            "by heading",
            "opening",
            "anchor and text",
            "new",
            "removed",
        ),
        "one of two alike",
    ],
)
def test_sections_that_say_something_else_are_changes(
    old: list[Section], new: list[Section], found: list[tuple[str, str, str, str]]
) -> None:
    assert changes(old, new) == found


def test_what_is_kept_of_a_change_is_bounded() -> None:
    ((_, _, before, after),) = changes([section("x" * 10**6, "a")], [section("y" * 10**6, "a")])
    assert len(before) == len(after) == LONGEST
    assert len(changes([], [section(f"text {n}", f"n{n}") for n in range(1000)])) == history.MOST


@pytest.mark.parametrize(
    ("when", "since"),
    [
        ("7d", "2026-11-03T12:00:00+00:00"),
        ("2 weeks", "2026-10-27T12:00:00+00:00"),
        ("1 hour", "2026-11-10T11:00:00+00:00"),
        ("2026-11-01T10:00:00+02:00", "2026-11-01T08:00:00+00:00"),
        ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00+00:00"),
    ],
)
def test_a_time_is_a_date_or_how_long_ago(when: str, since: str) -> None:
    assert history.since(when, NOW) == since


@pytest.mark.parametrize("when", ["", "soon", "7", "7 parsecs", "2026-13-01", "-3d", "99999 years"])
def test_what_is_no_time_is_refused(when: str) -> None:
    with pytest.raises(InvalidParams):
        history.since(when, NOW)


def test_words_that_changed_stand_between_a_few_that_did_not() -> None:
    many = " ".join(f"w{n}" for n in range(30))
    assert worded(f"{many} old {many}", f"{many} new {many}") == (
        "… w24 w25 w26 w27 w28 w29 [-old-] {+new+} w0 w1 w2 w3 w4 w5 …"
    )
    assert worded("", "all new") == "{+all new+}"


def test_a_change_is_told_with_its_text_on_demand() -> None:
    change = Change("https://go.example/", "t", "docs", "changed", "a", ("Title", "A"), "x", "y")
    assert change.as_json(text=False).keys() | {"before", "after"} == change.as_json(text=True).keys()
    assert change.as_json(text=False)["link"] == "https://go.example/#a"


def test_of_very_many_changes_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "KEPT_ROWS", 3)
    with Store(tmp_path) as store:
        page = library.written("heap")
        for n in range(8):
            change = Change(page.url, f"2026-01-0{n + 1}", "docs", "changed", "a", ("A",), "x", "y")
            library.put(store, page, changes=[change])
        store.forget_history("2026-01-02")
        assert [each.at[-1] for each in store.history("docs", "2020")] == ["5", "6", "7", "8"]


def test_a_store_that_an_older_version_made_is_read(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / CRAWL_DB, isolation_level=None)) as db:
        for step in MIGRATIONS[:2]:
            step(db)
        db.execute("PRAGMA user_version = 2")
    with look(tmp_path) as store:
        assert store.history("docs", "2020") == []
        assert not list(store.problems())


def test_a_store_that_a_killed_writer_left_in_the_middle_is_read(tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    with Store(library.build(tmp_path / "store")) as store:
        expected = store.history("docs", "2020")
        with closing(sqlite3.connect(tmp_path / "store" / CRAWL_DB, isolation_level=None)) as db:
            db.execute("PRAGMA cache_size = 1")
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM history")
            db.executemany("INSERT INTO repeats VALUES (?, ?, ?)", [("x", f"{n}" * 400, b"") for n in range(500)])
            for file in (CRAWL_DB, f"{CRAWL_DB}-journal"):
                shutil.copy(tmp_path / "store" / file, left / file)
            db.execute("ROLLBACK")
    assert (left / f"{CRAWL_DB}-journal").stat().st_size > 0
    with look(left) as store:
        assert store.history("docs", "2020") == expected != []


def test_what_is_committed_is_read_while_a_transaction_is_open(tmp_path: Path) -> None:
    with Store(library.build(tmp_path / "store")) as store:
        expected = store.history("docs", "2020")
        with closing(sqlite3.connect(tmp_path / "store" / CRAWL_DB, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM history")
            with look(tmp_path / "store") as beside:
                assert beside.history("docs", "2020") == expected
            db.execute("ROLLBACK")
