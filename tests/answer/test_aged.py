from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ragmacs_srv.answer import aged
from ragmacs_srv.model import Citation
from ragmacs_srv.search.roster import State

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def ago(days: float) -> str:
    return (NOW - timedelta(days=days)).isoformat()


def cited(n: int, page: str = "a", read: float = 400) -> Citation:
    return Citation(n, f"https://go.example/{page}", "", "A", (), "quote", ago(read), "")


def notes(*citations: Citation, days: int = 180, **confirmed: float) -> list[str]:
    """The notes where both pages are in the collections CONFIRMED so many days ago."""
    states = {name: State(name, name, confirmed=ago(since)) for name, since in confirmed.items()}
    pages = {f"https://go.example/{page}": list(confirmed) for page in "ab"}
    return aged.notes(citations, pages, states, days=days, now=NOW)


def test_pages_that_nobody_confirmed_for_long_are_named_with_the_command() -> None:
    assert notes(cited(1), cited(3, "b"), docs=190) == [
        "[1], [3] as of 6 months ago: ragmacs update docs reads what has changed since"
    ]


@pytest.mark.parametrize(
    ("citation", "confirmed"),
    [
        (cited(1), {"docs": 170}),
        (cited(1, read=10), {"docs": 190}),
        (cited(1), {"docs": 190, "guides": 3}),
        (cited(1, "elsewhere"), {"docs": 190}),
        (cited(1), {}),
    ],
    ids=["found unchanged", "read", "found unchanged by another collection", "of no collection", "unknown"],
)
def test_what_may_be_fresh_has_no_note(citation: Citation, confirmed: dict[str, float]) -> None:
    assert notes(citation, **confirmed) == []


def test_zero_days_are_never() -> None:
    assert notes(cited(1), docs=4000, days=0) == []


def test_a_collection_that_was_never_confirmed_is_unknown() -> None:
    state = replace(State("docs", "Docs"), finished=ago(300))
    assert aged.notes([cited(1)], {cited(1).url: ["docs"]}, {"docs": state}, days=180, now=NOW) == []
