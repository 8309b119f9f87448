"""A list of addresses that a model gives, over a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragmacs_srv import registry
from ragmacs_srv.app import App
from ragmacs_srv.registry import BUDGET
from ragmacs_srv.settings import load
from tests.search import library

SITE = library.SITE


@pytest.fixture
def app(home: Path) -> Iterator[App]:
    library.build(home / "store")
    environ = {"RAGMACS_HOME": str(home), "RAGMACS_SEARCH_MODE": "lexical"}
    with App(load(environ), environ) as opened:
        yield opened


def test_indexed_pages_are_summarized_and_unknown_sites_refused(app: App) -> None:
    with app.request() as mine:
        urls = [url for url, _, _ in mine.generation().pages("docs")][:2]
    text = "\n".join([*urls, "https://evil.example.org/?leak=1", "file:///etc/passwd"])
    done = registry.call(app, "summarize_list", {"text": text})
    assert [each["state"] for each in done.data["items"]] == ["done", "done", "refused", "refused"]
    assert all(each["from_cache"] for each in done.data["items"][:2])
    assert "not indexed" in done.text
    assert registry.question(app, "summarize_list", {"text": text}) == ""


@pytest.mark.slow
def test_a_long_reply_goes_on_at_its_cursor_without_working_again(app: App) -> None:
    text = "\n".join(f"https://unknown-{n}.example.org/{'x' * 150}" for n in range(40))
    replies = [registry.call(app, "summarize_list", {"text": text})]
    while after := replies[-1].data.get("cursor"):
        replies.append(registry.call(app, "summarize_list", {"text": text, "cursor": after}))
        assert len(replies) < 20
    found = [each["url"] for reply in replies for each in reply.data["items"]]
    assert (len(found), len(set(found)), len(replies) > 1) == (40, 40, True)
    assert all(len(reply.text) <= BUDGET for reply in replies)


@pytest.mark.parametrize("text", ["", "\n".join(f"https://a.org/{n}" for n in range(51))])
def test_a_list_that_is_empty_or_too_long_is_refused(app: App, text: str) -> None:
    assert registry.call(app, "summarize_list", {"text": text}).error
