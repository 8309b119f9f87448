"""What people type becomes what they mean, without asking anybody."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.errors import AddressRefused, InvalidParams
from ragmacs_srv.ingest import plans
from ragmacs_srv.ingest.plans import Found, Guess, guess
from ragmacs_srv.ingest.sources import in_scope

HERE = Path.cwd()
DISK: dict[Path, Found] = {
    Path("/n/notes"): "folder",
    Path("/n/README.org"): "file",
    Path("/n/feeds.opml"): "list",
    HERE / "notes": "folder",
    HERE / "go.dev": "folder",
    Path.home() / "notes": "folder",
}


def look(path: Path) -> Found:
    return DISK.get(path, "")


@pytest.mark.parametrize(
    ("typed", "seed", "name"),
    [
        ("info:elisp", "info:elisp", "elisp"),
        ("(elisp)Mapping Functions", "info:elisp", "elisp"),
        ("(elisp)", "info:elisp", "elisp"),
        ("info:", "info:", "info"),
        ("man:ls", "man:ls", "man-ls"),
        ("ls(1)", "man:ls(1)", "man-ls-1"),
        ("malloc (3)", "man:malloc(3)", "man-malloc-3"),
        ("godoc:runtime/debug", "godoc:runtime/debug", "go-runtime-debug"),
        ("https://pkg.go.dev/runtime/debug@go1.25.0#SetGCPercent", "godoc:runtime/debug", "go-runtime-debug"),
        ("https://pkg.go.dev/std", "godoc:std", "go-std"),
        (
            "https://stackoverflow.com/questions/tagged/go+garbage-collection?tab=Votes",
            "stackexchange:go+garbage-collection",
            "stackoverflow-go-garbage-collection",
        ),
        (
            "https://stackoverflow.com/questions/30333531/why-is",
            "stackexchange:questions/30333531",
            "stackoverflow-30333531",
        ),
        ("stackoverflow.com/q/30333531", "stackexchange:questions/30333531", "stackoverflow-30333531"),
        ("https://emacs.stackexchange.com/questions/tagged/org-mode", "stackexchange:emacs/org-mode", "emacs-org-mode"),
        ("https://emacs.stackexchange.com/questions/7/x", "stackexchange:emacs/questions/7", "emacs-7"),
        ("https://superuser.com/tags/awk/info", "stackexchange:superuser/awk", "superuser-awk"),
        ("stackexchange:unix/bash+awk", "stackexchange:unix/bash+awk", "unix-bash-awk"),
        ("https://github.com/karthink/gptel", "https://github.com/karthink/gptel", "karthink-gptel"),
        (
            "https://github.com/karthink/gptel/blob/master/README.org",
            "https://raw.githubusercontent.com/karthink/gptel/master/README.org",
            "karthink-gptel",
        ),
        ("/n/notes", "file:///n/notes", "notes"),
        ("/n/README.org", "file:///n/README.org", "README"),
        ("file:///n/README.org#top", "file:///n/README.org", "README"),
        ("~/notes", (Path.home() / "notes").as_uri(), "notes"),
        ("./notes", (HERE / "notes").as_uri(), "notes"),
        ("notes", (HERE / "notes").as_uri(), "notes"),
        ("go.dev", (HERE / "go.dev").as_uri(), "go.dev"),
        ("saved:///n/notes", "saved:///n/notes", "notes"),
        ("saved:///n/./notes", "saved:///n/./notes", "notes"),
        ("godoc:/n/mod", "godoc:/n/mod", "go-mod"),
        ("godoc:./mod", f"godoc:{HERE / 'mod'}", "go-mod"),
        ("<https://go.dev/doc/>", "https://go.dev/doc/", "go.dev"),
        ("www.gnu.org/software/emacs/", "https://www.gnu.org/software/emacs/", "gnu.org"),
    ],
)
def test_what_is_typed_is_understood(typed: str, seed: str, name: str) -> None:
    found = guess(typed, look)
    assert found.source.seeds == (seed,)
    assert found.source.name == name
    assert found.scope


@pytest.mark.parametrize(
    ("typed", "depth", "inside", "outside"),
    [
        ("https://x.dev/guide/start", 2, "https://x.dev/guide/next", "https://x.dev/blog"),
        ("https://x.dev/guide/", 2, "https://x.dev/guide/next", "https://x.dev/blog"),
        ("https://x.dev/manual/html_node/index.html", 2, "https://x.dev/manual/html_node/A.html", "https://x.dev/"),
        ("https://x.dev/guide", 2, "https://x.dev/guide/next", "https://x.dev/blog"),
        ("https://x.dev/", 2, "https://x.dev/blog", "https://y.dev/"),
        ("https://x.dev/doc/a.html", 0, "https://x.dev/doc/a.html", "https://y.dev/"),
        ("https://x.dev/paper.pdf", 0, "https://x.dev/paper.pdf", "https://y.dev/"),
        ("https://x.dev/blog/why-we-left", 0, "https://x.dev/blog/why-we-left", "https://y.dev/"),
        ("https://x.dev/2024/05/on-heaps", 0, "https://x.dev/2024/05/on-heaps", "https://y.dev/"),
        (
            "https://en.wikipedia.org/wiki/Mark–sweep",
            0,
            "https://en.wikipedia.org/wiki/Mark%E2%80%93sweep",
            "https://y.dev/",
        ),
        ("https://x.dev/view?id=3", 0, "https://x.dev/view?id=3", "https://y.dev/"),
        ("https://x.dev/sitemap.xml", 0, "https://x.dev/anything", "https://y.dev/"),
        ("https://github.com/o/r/wiki", 2, "https://github.com/o/r/wiki/Home", "https://github.com/o/r/issues"),
    ],
)
def test_how_far_a_crawl_goes_is_seen_in_the_address(typed: str, depth: int, inside: str, outside: str) -> None:
    source = guess(typed).source
    assert source.depth == depth
    assert not in_scope(source, inside)
    assert in_scope(source, outside)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("", "info:elisp"),
        ("elisp", "info:elisp"),
        ("README.md", "./notes"),
        ("/n/nothing", "check the path"),
        ("./nothing.org", "check the path"),
        ("/n/feeds.opml", "ragmacs batch"),
        ("https://x.dev/feed.xml", "ragmacs batch"),
        ("https://github.com/o/r/tree/main/docs", "git clone"),
        ("https://stackoverflow.com/users/1", "stackexchange:TAG"),
        ("https://emacs.stackexchange.com/", "stackexchange:emacs/TAG"),
        ("~nobody-of-this-name/notes", "write it out"),
        ("/n/\0", "write it out"),
    ],
)
def test_what_means_nothing_is_told_with_what_to_type_instead(typed: str, hint: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        guess(typed, look)
    assert hint in caught.value.hint


def test_a_scheme_that_is_not_read_is_told_beside_those_that_are() -> None:
    with pytest.raises(InvalidParams, match=r"ftp: are not read.*https.*stackexchange.*man"):
        guess("ftp://x", look)


def test_who_may_not_look_learns_nothing_of_the_disk() -> None:
    assert guess("/n/nothing").source.seeds == guess("/n/../n/nothing").source.seeds == ("file:///n/nothing",)
    with pytest.raises(InvalidParams):
        guess("notes")


def test_a_depth_that_is_asked_for_widens_a_page() -> None:
    found = plans.within(guess("https://x.dev/doc/a.html"), 1, None)
    assert (found.source.depth, found.source.max_pages) == (1, plans.FAR)
    assert found.scope == "this page, and what is below https://x.dev/doc/ and one link away"
    assert plans.within(guess("https://x.dev/doc/"), 0, 7).scope == "this page alone"


def test_addresses_of_one_host_are_one_collection_that_reads_what_each_would() -> None:
    meant = [guess("https://x.dev/doc/a.html"), guess("https://x.dev/guide/"), guess("info:elisp")]
    together = plans.merged(meant)
    assert [each.source.name for each in together] == ["x.dev", "elisp"]
    source = together[0].source
    assert not in_scope(source, "https://x.dev/guide/b")
    assert in_scope(source, "https://x.dev/doc/b.html")
    assert [each.source.name for each in plans.merged(meant, "mine")] == ["mine"]


@given(st.sampled_from(["https://x.dev/doc/", "info:elisp", "/n/notes"]), st.sets(st.sampled_from(
    ["x.dev", "x.dev-doc", "x.dev-doc-2", "elisp", "elisp-2", "notes", "notes-2", "notes-3"]
)))  # fmt: skip
def test_the_name_is_that_of_no_other_collection(typed: str, taken: set[str]) -> None:
    name = plans.free_name(guess(typed, look), taken)
    assert name not in taken
    assert re.fullmatch(r"[\w.-]{1,64}", name)


@given(
    st.text()
    | st.builds(
        "{}{}".format, st.sampled_from(["https://x.dev/", "info:", "man:", "stackexchange:", "/", "~"]), st.text()
    )
)
def test_whatever_is_typed_is_understood_or_refused(typed: str) -> None:
    try:
        found = guess(typed)
    except (InvalidParams, AddressRefused):
        return
    assert isinstance(found, Guess)
    assert re.fullmatch(r"[\w.-]{1,64}", found.source.name)
    assert found.source.name[0] not in ".-"
    assert found.source.title
