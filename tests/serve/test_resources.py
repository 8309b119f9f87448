"""What is indexed is listed once each, part by part, also while it changes; each is read as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragmacs_srv import settings
from ragmacs_srv.app import App
from ragmacs_srv.errors import InvalidParams, NotIndexed
from ragmacs_srv.search.store import Store
from ragmacs_srv.serve import resources
from tests.search import library


@pytest.fixture
def app(home: Path) -> Iterator[App]:
    """An App over the pages heap, stack, pool and limit in `docs`; heap is in `guides` too."""
    environ = {"RAGMACS_HOME": str(home)}
    given = settings.load(environ, {"search.mode": "lexical"})
    library.build(given.folders.store)
    with App(given, environ) as made:
        yield made


def listed(app: App, limit: int) -> list[list[str]]:
    """The addresses of all resources, as they are given LIMIT at a time."""
    shown, cursor = resources.resources(app, limit=limit)
    parts = [shown]
    while cursor:
        shown, cursor = resources.resources(app, cursor, limit)
        parts.append(shown)
    return [[each.uri for each in part] for part in parts]


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 100])
def test_every_collection_and_page_is_listed_once(app: App, limit: int) -> None:
    parts = listed(app, limit)
    pages = [resources.page_uri(f"{library.SITE}/{name}") for name in ("heap", "limit", "pool", "stack")]
    assert [uri for part in parts for uri in part] == [
        resources.COLLECTION + "docs",
        resources.COLLECTION + "guides",
        *pages,
    ]
    assert all(0 < len(part) <= limit for part in parts)


def test_a_cursor_stays_good_when_its_page_is_gone(app: App) -> None:
    before, cursor = resources.resources(app, limit=4)
    assert before[-1].uri.endswith("limit")
    with Store(app.settings.folders.store) as store:
        store.remove_url(f"{library.SITE}/limit")
        library.publish(store)
    with app.request() as later:
        after, _ = resources.resources(later, cursor, limit=4)
    assert [each.name.rpartition("/")[2] for each in after] == ["pool", "stack"]


def test_a_page_is_read_as_markdown_with_its_headings(app: App) -> None:
    text = resources.read(app, resources.page_uri(f"{library.SITE}/heap"))
    assert text.startswith("## Part 0\n\n")
    assert text.count("The heap ends here.") == 3


def test_a_collection_is_read_as_the_links_to_its_pages(app: App) -> None:
    assert resources.read(app, resources.COLLECTION + "guides").splitlines()[2:] == [
        f"- [About heap]({library.SITE}/heap)"
    ]


def test_the_handbook_can_be_read_beside_other_pages(app: App) -> None:
    assert "sync.Pool" in resources.read(app, resources.page_uri("handbook:sync-pool"))


@pytest.mark.parametrize(
    "uri", [resources.page_uri("https://go.dev/none"), resources.COLLECTION + "none", "file:///x", ""]
)
def test_what_is_not_indexed_cannot_be_read(app: App, uri: str) -> None:
    with pytest.raises(NotIndexed):
        resources.read(app, uri)


@pytest.mark.parametrize("cursor", ["bogus", "é", "AAAA", "ZmlsZTovLy94"])
def test_a_cursor_that_was_never_given_is_refused(app: App, cursor: str) -> None:
    with pytest.raises(InvalidParams):
        resources.resources(app, cursor)
