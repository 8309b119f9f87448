"""Profiles, dumps and traces as a model and a person get them: without Go, below the roots, with where to read on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ragmacs_srv import registry
from ragmacs_srv.app import App
from ragmacs_srv.golang import why
from ragmacs_srv.ingest.kinds import handbook as pages
from ragmacs_srv.registry import BUDGET, Result
from ragmacs_srv.settings import load
from tests.conftest import Cli
from tests.golang.recorded import FOLDER, text

HEAP, BEFORE = str(FOLDER / "heap.pb.gz"), str(FOLDER / "before.pb.gz")


@pytest.fixture
def app(home: Path) -> Iterator[App]:
    """An App on a machine without Go, that may read what was recorded."""
    environ = {"RAGMACS_HOME": str(home), "RAGMACS_SEARCH_MODE": "lexical", "RAGMACS_GO_PATH": "/nowhere/go"}
    with App(load(environ), environ) as opened:
        opened.roots = (FOLDER,)
        yield opened


def call(app: App, tool: str, /, **arguments: object) -> Result:
    done = registry.call(app, tool, arguments)
    assert len(done.text) <= BUDGET
    return done


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("go_pprof", {"profile": HEAP, "sample": "alloc_space"}, "35.1%  main.keep  main.go:15"),
        ("go_pprof", {"profile": HEAP, "base": BEFORE, "limit": 3}, "124.1%  main.keep"),
        ("go_pprof", {"profile": HEAP, "sample": "alloc_space", "focus": "even", "view": "peek"}, "calls main.odd"),
        ("go_pprof", {"profile": HEAP, "sample": "alloc_space", "view": "tree"}, "main.keep"),
        ("go_pprof", {"profile": str(FOLDER / "cpu.pb.gz")}, "cpu: time on a CPU"),
        ("go_goroutines", {"file": str(FOLDER / "goroutineleak.pb.gz")}, "5 leaked goroutines"),
        ("go_goroutines", {"text": text("deadlock.txt")}, "all goroutines are asleep"),
        (
            "go_goroutines",
            {"file": str(FOLDER / "goroutine.pb.gz"), "before": str(FOLDER / "goroutineleak.pb.gz")},
            "+2 since the earlier snapshot",
        ),
        ("go_gctrace", {"file": str(FOLDER / "trace.txt")}, "13 cycles"),
        ("go_gctrace", {"text": text("trace.txt")}, "peak 87 MiB"),
        ("go_gc_whatif", {"live": "8MiB", "stacks": "1MiB", "globals": "1MiB"}, "the heap grows to 18 MiB"),
        ("go_gc_whatif", {"trace": str(FOLDER / "trace.txt"), "gogc": "200"}, "GOGC=200"),
        ("go_explain", {"text": "./x.go:13:6: moved to heap: b"}, "the variable b is put on the heap"),
        ("go_explain", {"text": "type T struct { A bool }"}, "no usable go"),
    ],
)
def test_tools_answer_without_go_and_say_where_to_read_on(
    tool: str, arguments: dict[str, object], says: str, app: App, handbook: Path
) -> None:
    done = call(app, tool, **arguments)
    assert not done.error
    assert says in done.text
    assert re.search(r"^\[1\] .* <(handbook:|https://go\.dev/)", done.text, re.MULTILINE)


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("go_pprof", {"profile": "/etc/passwd"}, "is in no folder that was opened"),
        ("go_pprof", {"profile": str(FOLDER / "../test_profile.py")}, "is in no folder that was opened"),
        ("go_pprof", {"profile": "heap.pb.gz"}, "is in no folder that was opened"),
        ("go_pprof", {"profile": str(FOLDER)}, "is no file"),
        ("go_pprof", {"profile": str(FOLDER / "heap.go.txt")}, "is no pprof profile"),
        ("go_pprof", {"profile": HEAP, "sample": "bogus"}, "one of alloc_objects, alloc_space"),
        ("go_pprof", {"profile": HEAP, "focus": "(a|b)"}, "write them out"),
        ("go_goroutines", {}, "either a file or a text"),
        ("go_gctrace", {"text": "nothing"}, "GODEBUG=gctrace=1"),
        ("go_gc_whatif", {}, "the live heap is not known"),
        ("go_gc_whatif", {"live": "64"}, "64MiB"),
        ("go_gc_whatif", {"live": "64MiB", "memory_limit": "100MB"}, "GOMEMLIMIT=100MiB"),
        ("go_explain", {"text": "nothing"}, "nothing in it is known"),
    ],
)
def test_tools_refuse_with_what_to_do(tool: str, arguments: dict[str, object], says: str, app: App) -> None:
    done = call(app, tool, **arguments)
    assert done.error
    assert says in done.text


def test_a_link_out_of_the_folder_is_not_followed(app: App, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/link.pb.gz").symlink_to(HEAP)
    app.roots = (tmp_path / "inside",)
    assert "is in no folder that was opened" in call(app, "go_pprof", profile=str(tmp_path / "inside/link.pb.gz")).text


def test_what_a_profile_names_cannot_drive_a_terminal(app: App) -> None:
    dump = "goroutine 1 [run\x1b]0;owned\x07ning]:\nmain.f()\n\t/m.go:7 +0x1\n"
    assert "\x1b" not in call(app, "go_goroutines", text=dump).text


def test_a_picture_comes_with_the_structured_reply(app: App) -> None:
    data = call(app, "go_gc_whatif", live="64MiB", picture="dark").data
    assert ElementTree.fromstring(data["svg"]).tag.endswith("svg")
    assert data["goal"] == 128 << 20


# The command line


def test_commands_read_files_and_stdin(run: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("RAGMACS_GO_PATH", "/nowhere/go")
    rows = run("go", "pprof", HEAP, "--sample", "alloc_space", "-n", "2", "--json").json
    assert [row["func"] for row in rows["rows"]] == ["internal/bytealg.MakeNoZero", "main.keep"]
    assert rows["see"][0]["link"].startswith("handbook:")
    assert run("go", "pprof", HEAP, "--by", "line").code == 0
    tree = run("go", "pprof", HEAP, "--view", "tree", "--json").json["tree"]
    assert [tree[0]["func"], tree[0]["calls"][0]["func"]] == ["runtime.main", "main.main"]
    calls = run("go", "pprof", HEAP, "--view", "peek", "--json").json["calls"]
    assert {"from": "main.main", "to": "main.keep"}.items() <= calls[1].items()
    assert "main.leaky.func1" in run("go", "goroutines", "-", stdin=text("leak.txt")).out
    assert run("go", "gctrace", "-", "--json", stdin=text("trace.txt")).json["processes"][0]["cycles"] == 13
    assert "GOGC=off" in run("go", "whatif", "--trace", "-", "--gogc", "off", stdin=text("trace.txt")).out
    assert run("go", "whatif", "--live", "64MiB", "--svg", str(tmp_path / "p.svg"), "--theme", "light").code == 0
    assert (tmp_path / "p.svg").read_text("utf-8").startswith("<svg")
    assert run("go", "whatif", "--live", "64MiB", "--svg", "-").out.startswith("<svg")
    explained = run("explain", "--json", stdin="./x.go:13:6: moved to heap: b").json["explanations"]
    assert explained[0]["fields"]["sites"][0]["kind"] == "moved_to_heap"
    assert explained[0]["see"][0]["quote"].startswith("A value escapes to the heap when")
    assert "SIGKILL" in run("explain", stdin="signal: killed").out


@pytest.mark.parametrize(
    "arguments",
    [("pprof", "nothing.pb.gz"), ("pprof", HEAP, "--view", "list"), ("whatif", "--live", "-3"), ("goroutines", "/")],
)
def test_wrong_use_is_refused_with_exit_code_2(arguments: tuple[str, ...], run: Cli) -> None:
    done = run("go", *arguments)
    assert (done.code, "hint: " in done.err) == (2, True)


# Where to read on


@pytest.mark.parametrize("link", [link for _, link in why.EVERYTHING if link.startswith("handbook:")])
def test_pages_of_the_handbook_have_the_sections_that_are_named(link: str) -> None:
    url, _, anchor = link.partition("#")
    source = pages.response(url).body.decode()
    headings = re.findall(r"^#+ (.+)", source, re.MULTILINE)
    assert anchor in {re.sub(r"[^\w-]", "", each.lower().replace(" ", "-")) for each in headings}


@pytest.mark.shared
def test_saved_pages_have_the_sections_that_are_named(shared: Path) -> None:
    links = [link for _, link in why.EVERYTHING if link.startswith("https:")]
    for link in links:
        url, _, anchor = link.partition("#")
        page = (shared / "site/pages" / f"{url.removeprefix('https://go.dev/')}.html").read_text("utf-8")
        assert not anchor or f'id="{anchor}"' in page, link
    assert len(links) > 8
