from __future__ import annotations

import pytest

from ragmacs_srv.errors import NoContent
from ragmacs_srv.ingest.extract import extract
from ragmacs_srv.ingest.walls import check
from ragmacs_srv.model import Page

ASKED = "https://a.org/paper"
STUB = "<main><h1>A story</h1><p>The first lines of a long story, which goes on. {} and enjoy it at once.</p>" + (
    "<p>It begins in a town by the sea, where nobody had ever seen a ship.</p></main>"
)


def page(end: str, said: str) -> Page:
    return extract(STUB.format(said).encode(), end)


@pytest.mark.parametrize(
    ("end", "said", "reason"),
    [
        ("https://a.org/login?next=/paper", "Please enter your name", "leads to a login"),
        ("https://sso.example.org/oauth2/authorize?x=1", "Please enter your name", "leads to a login"),
        (ASKED, "Subscribe to continue reading", "behind a paywall"),
        (ASKED, "This article is for paid subscribers", "behind a paywall"),
    ],
)
def test_a_wall_is_no_page(end: str, said: str, reason: str) -> None:
    with pytest.raises(NoContent, match=reason) as caught:
        check(ASKED, page(end, said))
    assert "save it" in caught.value.hint


@pytest.mark.parametrize(
    ("asked", "end", "said"),
    [
        (ASKED, "https://a.org/paper-2", "Read on"),
        ("man:login", "man:login(1)", "This page tells how a login works"),
        ("https://a.org/docs/login", "https://a.org/docs/login/", "This page tells how a login works"),
        (ASKED, ASKED, "Subscribe to continue reading " + "the story of the sea " * 50),
    ],
    ids=["a redirect", "a page that is no address of the web", "a page about logins", "a long page"],
)
def test_what_only_looks_like_a_wall_is_read(asked: str, end: str, said: str) -> None:
    check(asked, page(end, said))
