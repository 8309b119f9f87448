"""`ragmacs add`: what is typed becomes a plan, and only what is agreed to is stored."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.errors import InvalidParams
from ragmacs_srv.ingest import sources
from ragmacs_srv.model import Source
from tests import demo_site
from tests.conftest import Cli
from tests.servers import Answer, Site, Visit, serve

GUIDE = "https://go.dev/doc/gc-guide"


def mirror(site: Site) -> list[str]:
    return ["--mirror", f"https://go.dev={site.origin}"]


def file(home: Path, name: str) -> Path:
    return home / "sources" / f"{name}.toml"


def test_a_plan_says_what_would_be_read_and_nothing_is_stored(run: Cli, site: Site, home: Path) -> None:
    done = run("add", "go.dev/blog/context", *mirror(site))
    assert done.code == 2
    for said in (
        "go.dev: About context",
        "this page alone",
        "1 document",
        str(file(home, "go.dev")),
        str(home / "store"),
    ):
        assert said in done.out
    assert "no terminal" in done.err
    assert "--yes" in done.err
    assert not file(home, "go.dev").exists()
    assert not (home / "store").exists()


def test_what_is_agreed_to_is_a_file_and_its_pages_which_update_knows(run: Cli, site: Site, home: Path) -> None:
    done = run("add", GUIDE, "--depth", "0", "--name", "guide", "--yes", "--json", *mirror(site))
    assert done.code == 0
    assert done.json["crawls"][0]["outcomes"] == {"new": 1}
    assert sources.read(file(home, "guide")) == Source(
        "guide", "A Guide to the Go Garbage Collector", (GUIDE,), depth=0, max_pages=200
    )
    assert run("update", "guide", "--json").json["crawls"][0]["outcomes"] == {"unchanged": 1}
    rows = {row["name"]: row["pages"] for row in run("collections", "--json").json["collections"]}
    assert rows["guide"] == 1


def test_what_is_added_again_is_the_collection_that_there_is(run: Cli, site: Site, home: Path) -> None:
    assert run("add", "go.dev/blog/context", "--yes", *mirror(site)).code == 0
    done = run("add", "https://go.dev/blog/context", "--yes", "--json", *mirror(site))
    assert [each["collection"] for each in done.json["crawls"]] == ["go.dev"]
    assert [each.name for each in (home / "sources").iterdir()] == ["go.dev.toml"]
    plan = run("add", "go-gc", "--json").json["plans"][0]
    assert (plan["name"], plan["file"]) == ("go-gc", None)


def test_a_collection_never_takes_the_name_of_another(run: Cli, site: Site, home: Path) -> None:
    assert run("add", "go.dev/blog/context", "--yes", *mirror(site)).code == 0
    plan = run("add", "go.dev/blog/pprof", "--json", *mirror(site)).json["plans"][0]
    assert plan["name"] == "go.dev-blog-pprof"
    assert run("add", "go.dev/blog/pprof", "--name", "go-gc", "--yes", *mirror(site)).code == 2
    assert run("add", "go.dev/blog/pprof", "--name", "../x", "--yes", *mirror(site)).code == 2
    assert [each.name for each in (home / "sources").iterdir()] == ["go.dev.toml"]


def test_several_addresses_are_one_collection_under_a_name(run: Cli, site: Site, home: Path) -> None:
    done = run("add", "go.dev/blog/context", "go.dev/doc/faq.html", "--name", "both", "--yes", "--json", *mirror(site))
    assert [(each["collection"], each["outcomes"]) for each in done.json["crawls"]] == [("both", {"new": 2})]


@pytest.mark.slow
def test_a_removed_collection_takes_along_the_file_that_nobody_changed(run: Cli, site: Site, home: Path) -> None:
    for name in ("kept", "gone"):
        assert run("add", f"go.dev/blog/{name}", "--name", name, "--yes", *mirror(site)).code == 0
    file(home, "kept").write_text(file(home, "kept").read_text() + "# mine\n")
    assert run("remove", "gone", "--json").json == {
        "removed": 1, "file": str(file(home, "gone")), "file_removed": True
    }  # fmt: skip
    assert "kept.toml stays" in run("remove", "kept").out
    assert [each.name for each in (home / "sources").iterdir()] == ["kept.toml"]


def test_later_writes_the_file_and_asks_for_no_page_more(run: Cli, site: Site, home: Path) -> None:
    done = run("add", "go.dev/blog/context", "--later", "--yes", *mirror(site))
    assert f"ragmacs crawl go.dev --mirror=https://go.dev={site.origin} reads it" in done.out
    asked = len(site.asked)
    assert file(home, "go.dev").is_file()
    assert run("collections", "go.dev").code == 2
    assert len(site.asked) == asked
    assert run("remove", "go.dev").code == 0
    assert not file(home, "go.dev").exists()


WORDS = "a sentence of some words that says what is there " * 3


def test_a_folder_is_named_as_one_types_it(
    run: Cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes" / "deep").mkdir(parents=True)
    (tmp_path / "notes" / "a.org").write_text(f"* Heaps\n{WORDS}\n")
    (tmp_path / "notes" / "deep" / "b.md").write_text(f"# Stacks\n\n{WORDS} twice\n")
    monkeypatch.chdir(tmp_path)
    plan = run("add", "notes", "--json").json["plans"][0]
    assert (plan["name"], plan["documents"], plan["seconds"]) == ("notes", 2, 0)
    assert run("add", "./notes", "--yes", "--json").json["crawls"][0]["outcomes"] == {"new": 2}
    link = run("search", "Heaps", "--json").json["results"][0]["link"]
    assert link == (tmp_path / "notes" / "a.org").as_uri() + "#heaps"
    assert run("add", "notes/c.org", "--yes").code == 2


def test_saved_pages_are_added_under_the_addresses_they_came_from(run: Cli, tmp_path: Path) -> None:
    page = f"<!-- saved from url=(0020)https://x.dev/heaps --><title>T</title><main><h1>T</h1><p>{WORDS}</main>"
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.html").write_text(f"<html>{page}</html>")
    plan = run("add", str(tmp_path / "kept"), "--json").json["plans"][0]
    address = f"saved://{tmp_path}/kept"
    assert address in plan["notes"][0]
    assert run("add", address, "--yes").code == 0
    assert "https://x.dev/heaps" in run("collections", "kept").out


def test_a_list_of_addresses_is_not_mistaken_for_a_document(run: Cli, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# mine\nhttps://go.dev/a\nhttps://go.dev/b\n")
    (tmp_path / "prose.txt").write_text(f"https://go.dev/a says:\n{WORDS}\n")
    done = run("add", str(tmp_path / "list.txt"))
    assert (done.code, "ragmacs crawl --from" in done.err) == (2, True)
    assert run("add", str(tmp_path / "prose.txt"), "--json").code == 0


FORM = b"<html><title>Sign in</title><main><p>Please sign in.</p><form><input type=password></form></main></html>"
SCRIPT = b"<html><body><div id=root></div><script>run()</script></body></html>"


def bad(visit: Visit) -> Answer:
    if visit.path == "/robots.txt":
        return Answer(b"User-agent: *\nDisallow: /private\n", type="text/plain")
    pages = {"/app": Answer(SCRIPT), "/login": Answer(FORM)}
    if visit.path == "/moved":
        return Answer(status=302, headers={"Location": "/deep/er/page"})
    return pages.get(visit.path) or (demo_site.answer(visit) if "deep" in visit.path else Answer(status=404))


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [("/gone", 4, "404"), ("/app", 4, "text"), ("/login", 4, "login"), ("/private/x", 4, "robots.txt")],
)
def test_what_cannot_be_read_is_told_before_anything_is_stored(
    run: Cli, home: Path, path: str, code: int, says: str
) -> None:
    with serve(bad) as site:
        done = run("add", site.origin + path, "--allow", site.origin, "--yes")
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert "hint: " in done.err
    assert not (home / "sources").exists()


def test_one_bad_address_among_several_is_named_in_the_plan(run: Cli) -> None:
    with serve(bad) as site:
        addresses = [f"{site.origin}/gone", f"{site.origin}/deep/a.html"]
        done = run("add", *addresses, "--name", "x", "--allow", site.origin, "--json")
    plan = done.json["plans"][0]
    assert [(each["url"], "404" in each["reason"]) for each in plan["troubles"]] == [(addresses[0], True)]
    assert f"not read  {addresses[0]}" in done.json["text"]


def test_where_an_address_leads_is_what_is_meant(run: Cli) -> None:
    with serve(bad) as site:
        plan = run("add", f"{site.origin}/moved", "--allow", site.origin, "--json").json["plans"][0]
        assert plan["seeds"] == [f"{site.origin}/deep/er/page"]
        assert f"below {site.origin}/deep/er/ " in plan["scope"]


def listing(visit: Visit) -> Answer:
    host = f"http://{visit.headers['Host']}"
    pages = "".join(f"<url><loc>{each}</loc></url>" for each in (f"{host}/a", f"{host}/b", "https://elsewhere.org/"))
    body = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{pages}</urlset>'
    return Answer(body.encode(), type="application/xml") if visit.path == "/sitemap.xml" else demo_site.answer(visit)


def test_a_site_that_lists_its_pages_is_read_by_that_list(run: Cli) -> None:
    with serve(listing) as site:
        allow = ["--allow", site.origin]
        plan = run("add", f"{site.origin}/", *allow, "--json").json["plans"][0]
        assert (plan["seeds"], plan["documents"], plan["whole"]) == ([f"{site.origin}/sitemap.xml"], 2, True)
        cut = run("add", f"{site.origin}/", "--max-pages", "1", *allow, "--json").json["plans"][0]
        assert (cut["documents"], cut["whole"]) == (1, False)
        done = run("add", f"{site.origin}/", "--yes", "--json", *allow)
        assert done.json["crawls"][0]["outcomes"] == {"new": 2}


def test_a_list_of_nothing_but_other_sites_says_so(run: Cli, home: Path) -> None:
    pages = "<url><loc>https://elsewhere.org/doc/a</loc></url><url><loc>https://elsewhere.org/b</loc></url>"
    body = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{pages}</urlset>'
    with serve(lambda _: Answer(body.encode(), type="application/xml")) as site:
        done = run("add", f"{site.origin}/sitemap.xml", "--allow", site.origin, "--yes")
    assert done.code == 4
    assert "the first is https://elsewhere.org/doc/a" in done.err
    assert "ragmacs add https://elsewhere.org/;" in done.err
    assert not (home / "sources").exists()


def test_politeness_is_counted_in_minutes(run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGMACS_NETWORK_DELAY", "1")
    plan = run("add", "go-gc", "--json").json
    assert plan["plans"][0]["seconds"] == plan["plans"][0]["documents"] > 40
    assert "a pause of a second" in plan["text"]


# The file

TEXT = st.text(max_size=30)
NAME = st.from_regex(r"[a-z][a-z0-9.-]{0,20}[a-z]", fullmatch=True)


@given(st.builds(
    Source, NAME, TEXT, st.lists(TEXT, min_size=1, max_size=3).map(tuple), licence=TEXT,
    allow=st.lists(TEXT, max_size=2).map(tuple), depth=st.integers(0, 9), max_pages=st.integers(1, 9**9),
))  # fmt: skip
def test_the_file_of_a_collection_holds_all_of_it(tmp_path_factory: pytest.TempPathFactory, source: Source) -> None:
    own = tmp_path_factory.mktemp("own")
    assert sources.read(sources.write(source, own)) == source
    with pytest.raises(InvalidParams):
        sources.write(source, own)
    assert sources.discard(source.name, own) == (own / f"{source.name}.toml", True)
    assert list(own.iterdir()) == []


# A person at a terminal


@pytest.mark.slow
@pytest.mark.parametrize(("typed", "read"), [("\n", True), ("n\n", False), ("\x03", False)], ids=["enter", "n", "C-c"])
def test_a_person_is_asked(site: Site, home: Path, typed: str, read: bool) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "ragmacs_srv.cli", "add", "go.dev/blog/context", *mirror(site)]
    env = {**os.environ, "RAGMACS_SEARCH_MODE": "lexical", "TERM": "xterm"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True,
                          preexec_fn=_control) as process:  # fmt: skip
        os.close(theirs)
        seen = ""
        while "[Y/n]" not in seen:
            seen += os.read(ours, 1000).decode()
        assert "this page alone" in re.sub(r"\s+", " ", seen)
        _press(ours, typed)
        assert (process.wait(30) == 0) == read
    assert file(home, "go.dev").exists() == read


def _control() -> None:
    """Make stdin the terminal that controls this process, so that C-c there is a signal."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _press(terminal: int, keys: str) -> None:
    """Type KEYS until the other side is closed: Python misses a C-c that comes just before it waits for a line."""
    try:
        while True:
            os.write(terminal, keys.encode())
            while select.select([terminal], [], [], 2.0)[0]:
                os.read(terminal, 1000)
    except OSError:  # the other side is closed
        os.close(terminal)
