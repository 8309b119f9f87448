from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ragmacs_srv.search import roster
from ragmacs_srv.search.roster import State
from ragmacs_srv.search.store import Receipt, Store
from tests.search import library

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DOCS = State(
    *("docs", "Docs", "MIT", "2026-05-01T00:00:00+00:00", "2026-05-02T00:00:00+00:00", "2026-05-02T00:00:00+00:00"),
    pages=3,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    states = {"docs": replace(DOCS, outcomes={"new": 3}), "other": State("other", "Other")}
    roster.write(tmp_path, states)
    assert roster.read(tmp_path) == states
    assert [path.name for path in tmp_path.iterdir()] == [roster.FILE]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": 9, "collections": []}',
        '{"format": 1, "collections": [{"name": 7}]}',
        "\0\1",
        "[" * 10**5,
    ],
    ids=["empty", "cut", "a list", "null", "a later format", "no fields", "no text", "nested"],
)
def test_a_damaged_file_means_that_nothing_is_known(tmp_path: Path, text: str) -> None:
    (tmp_path / roster.FILE).write_bytes(text.encode())
    assert roster.read(tmp_path) == {}


def test_a_file_of_wrong_types_means_that_nothing_is_known(tmp_path: Path) -> None:
    roster.write(tmp_path, {"docs": DOCS})
    held = json.loads((tmp_path / roster.FILE).read_text())
    held["collections"][0]["pages"] = "many"
    (tmp_path / roster.FILE).write_text(json.dumps(held))
    assert roster.read(tmp_path) == {}


def test_a_file_that_cannot_be_written_says_nothing(tmp_path: Path) -> None:
    roster.write(tmp_path, {"docs": DOCS})
    (tmp_path / f"{roster.FILE}.new").mkdir()
    roster.write(tmp_path, {"docs": replace(DOCS, pages=1)})
    assert roster.read(tmp_path) == {}


@pytest.mark.parametrize(
    ("state", "options", "word"),
    [
        (None, {"pages": 0}, "never read"),
        (None, {"pages": 3}, "unknown"),
        (DOCS, {"old_days": 200}, "fresh"),
        (DOCS, {"old_days": 180}, "old"),
        (DOCS, {"old_days": 0}, "fresh"),
        (replace(DOCS, confirmed=""), {"old_days": 180}, "old"),
        (replace(DOCS, failed=2000), {"old_days": 180}, "old, 2,000 failed"),
        (replace(DOCS, started="2026-06-01"), {"writing": True}, "being read"),
        (replace(DOCS, started="2026-06-01"), {}, "stopped"),
        (DOCS, {"pages": 2, "writing": True}, "being indexed"),
        (DOCS, {"pages": 2}, "not indexed"),
    ],
)
def test_a_state_in_a_word(state: State | None, options: dict[str, int], word: str) -> None:
    assert roster.standing(state, **{"pages": 3, **options}, now=NOW) == word  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (0, "0 minutes"),
        (1 / 24, "1 hour"),
        (1, "1 day"),
        (13, "13 days"),
        (15, "2 weeks"),
        (90, "2 months"),
        (366, "1 year"),
    ],
)
def test_an_age_in_words(days: float, words: str) -> None:
    assert roster.age(days) == words


def test_days_are_counted_whatever_the_clock_says() -> None:
    assert roster.days_since((NOW - timedelta(days=3)).isoformat(), NOW) == 3
    assert roster.days_since("2026-10-31T00:00:00Z", NOW) == 1
    assert roster.days_since((NOW + timedelta(days=3)).isoformat(), NOW) == 0
    assert roster.days_since("", NOW) is None


def test_a_crawl_that_got_no_answers_confirms_nothing(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        held = Receipt("docs", f"{library.SITE}/a", "failed", f"{library.SITE}/a", "500", "", "", 0, "t1")
        for at, status, confirmed in (("t1", "new", "t1+"), ("t2", "failed", "t1+"), ("t3", "unchanged", "t3+")):
            store.start_crawl(library.source("docs"), {}, at)
            assert roster.standing(roster.read(tmp_path)["docs"], pages=1, writing=True) == "being read"
            store.record(replace(held, status=status, at=at))
            store.finish_crawl("docs", f"{at}+")
            state = roster.read(tmp_path)["docs"]
            assert (state.confirmed, state.finished) == (confirmed, f"{at}+")
            assert (state.failed, state.outcomes) == (int(status == "failed"), {status: 1})
        store.remove_collection("docs")
        assert roster.read(tmp_path) == {}
