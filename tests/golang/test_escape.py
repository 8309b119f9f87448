"""What is said of the heap is what the compiler decided, where it says so, and nothing of the code was run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ragmacs_srv.errors import AddressRefused, InvalidParams, ToolchainFailed, TypeNotFound
from ragmacs_srv.golang import escape, snippet
from ragmacs_srv.golang.escape import HEAP, Escapes, Part, Site, merged, parse_m2, read_log
from ragmacs_srv.golang.toolchain import Toolchain
from ragmacs_srv.golang.workshop import Place, Workshop, placed
from tests.conftest import SHARED

TRUTH = SHARED / "go-truth"

SAID = """\
# example.com/m
./a.go:12:6: can inline Leak with cost 10 as: func() *Big { b := Big{...}; return &b }
./a.go:20:6: cannot inline (*T).Run: unhandled op GO
./a.go:13:2: b escapes to heap in Leak:
./a.go:13:2:   flow: ~r0 ← &b:
./a.go:13:2:     from &b (address-of) at ./a.go:14:9
./a.go:13:2:     from return &b (return) at ./a.go:14:2
./a.go:13:2: moved to heap: b
./a.go:43:2: x escapes to heap in (*T).Run:
./a.go:43:2:   flow: {storage for func literal} ← &x:
./a.go:43:2:     from x (captured by a closure) at ./a.go:44:22
./a.go:43:2:     from x (reference) at ./a.go:44:22
./a.go:43:2: x escapes to heap in (*T).Run:
./a.go:43:2:   flow: {heap} ← &x:
./a.go:43:2:     from sink = &x (assign) at ./a.go:45:3
./a.go:43:2: moved to heap: x
./a.go:47:12: parameter p leaks to ~r0 for Param with derefs=0:
./a.go:47:12:   flow: ~r0 ← p:
./a.go:47:12:     from return p (return) at ./a.go:47:27
./a.go:47:12: leaking param: p to result ~r0 level=0
./a.go:50:7: &Big{} escapes to heap
./a.go:51:7: make([]byte, n) does not escape
./a.go:52:7: "a: b" escapes to heap
./a.go:53:9: leaking param content: q
something else
"""

LOG = """\
{"version":0,"package":"example.com/m","goos":"linux","goarch":"arm64","gc_version":"go1.27.3","file":"/m/a b.go"}
{"range":{"start":{"line":12,"character":6}},"code":"canInlineFunction","message":"cost: 10"}
{"range":{"start":{"line":13,"character":2}},"code":"escape","message":"b escapes to heap","relatedInformation":[\
{"location":{"uri":"file:///m/a%20b.go","range":{"start":{"line":14,"character":9}}},"message":"escflow:    flow: ~r0 \
← &b:"},{"location":{"uri":"file:///goroot/print.go","range":{"start":{"line":1,"character":1}}},"message":"inlineLoc"\
},{"location":{"uri":"file:///m/a%20b.go","range":{"start":{"line":14,"character":2}}},"message":"escflow:      from \
return &b (return)"}]}
{"range":{"start":{"line":13,"character":2}},"code":"escapes","message":"b escapes to heap"}
{"range":{"start":{"line":24,"character":14}},"code":"escapes","message":"n escapes to heap"}
{"range":{"start":{"line":24,"character":14}},"code":"escape","message":""}
{"range":{"start":{"line":47,"character":12}},"code":"leak","message":"parameter p leaks to {heap} with derefs=0"}
"""


def brief(sites: object) -> list[tuple[int, str, str, str, str]]:
    return [(each.line, each.expr, each.kind, each.function, each.reason) for each in sites]  # type: ignore[attr-defined]


# What the compiler prints


def test_its_text_becomes_decisions_with_function_and_reason() -> None:
    assert brief(parse_m2(SAID)) == [
        (13, "b", "moved_to_heap", "Leak", "return"),
        (43, "x", "moved_to_heap", "(*T).Run", "captured by a closure"),
        (47, "p", "leaks_param", "Param", "return"),
        (50, "&Big{}", "escapes", "", ""),
        (51, "make([]byte, n)", "no_escape", "", ""),
        (52, '"a: b"', "escapes", "", ""),
        (53, "q", "leaks_param", "", ""),
    ]
    first = parse_m2(SAID)[0]
    assert [(each.message, each.place) for each in first.flow] == [
        ("flow: ~r0 ← &b:", ""),
        ("from &b (address-of)", "./a.go:14:9"),
        ("from return &b (return)", "./a.go:14:2"),
    ]
    assert {each.expr: each.to for each in parse_m2(SAID) if each.to} == {"p": "~r0", "q": "{heap}"}


def test_a_line_that_was_cut_out_of_it_is_enough() -> None:
    assert brief(parse_m2("main.go:3:2: moved to heap: x")) == [(3, "x", "moved_to_heap", "", "")]
    assert brief(parse_m2("\tmain.go:3:2: x escapes to heap in F:\n")) == [(3, "x", "escapes", "F", "")]
    assert [each.column for each in parse_m2("main.go:3: x does not escape")] == [0]


@pytest.mark.parametrize("text", ["", "hello", "a:b:c: d", "main.go:1:1: syntax error", "ok  \tm\t0.1s", "::: :"])
def test_what_is_no_decision_is_none(text: str) -> None:
    assert parse_m2(text) == []


def test_its_log_becomes_one_decision_for_each_place() -> None:
    log = read_log(LOG)
    assert (log.file, log.goarch) == (Path("/m/a b.go"), "arm64")
    assert brief(log.sites) == [
        (13, "b", "moved_to_heap", "", "return"),
        (24, "n", "escapes", "", ""),
        (47, "p", "leaks_param", "", ""),
    ]
    assert [each.place for each in log.sites[0].flow] == ["/m/a b.go:14:9", "/m/a b.go:14:2"]


def test_the_text_adds_functions_and_what_stays_to_the_log() -> None:
    logged = [Site("/m/a.go", 13, 2, "b", "moved_to_heap"), Site("/m/a.go", 9, 1, "z", "moved_to_heap")]
    said = [
        Site("/m/a.go", 13, 2, "b", "moved_to_heap", "Leak"),
        Site("/m/a.go", 51, 7, "s", "no_escape"),
        Site("/etc/passwd", 9, 1, "z", "moved_to_heap", "F"),
    ]
    assert [(each.expr, each.function) for each in merged(logged, said)] == [("b", "Leak"), ("z", ""), ("s", "")]
    assert merged([], said) == said


@pytest.mark.shared
def test_what_was_recorded_is_read_as_it_was_counted() -> None:
    if not TRUTH.exists():
        pytest.skip("no recorded output beside the checkout (../shared)")
    said = parse_m2((TRUTH / "samples/escape_m2_go1.27.3.txt").read_text("utf-8"))
    log = read_log((TRUTH / "samples/escape_json0_go1.27.3.jsonl").read_text("utf-8"))
    for sites in (said, log.sites):
        assert sum(each.kind in HEAP for each in sites) == 11
        assert [each.expr for each in sites if each.kind == "leaks_param"] == ["p", "k"]
    assert {(s.line, s.expr, s.kind) for s in log.sites} == {
        (s.line, s.expr, s.kind) for s in said if s.kind != "no_escape"
    }


@pytest.mark.parametrize(
    ("function", "wanted", "within"),
    [
        ("Run", "Run", True),
        ("(*T).Run", "Run", True),
        ("(*T).Run", "T.Run", True),
        ("(*T).Run.func1", "T.Run", True),
        ("(*T).Run.func1", "(*T).Run", True),
        ("Gen[go.shape.int]", "Gen", True),
        ("Runner", "Run", False),
        ("(*T).Run", "U.Run", False),
        ("", "Run", False),
    ],
)
def test_a_function_is_named_as_people_do(function: str, wanted: str, within: bool) -> None:
    assert Part(function=wanted).has(Site("a.go", 1, 1, "x", "escapes", function)) == within


# The real one

CODE = """\
package m

import "fmt"

type T struct{ n [100]int }

func Leak() *T {
	t := T{}
	return &t
}

func (t *T) Show(n int) {
	fmt.Println(n, "text")
}

func Buffer(n int) int {
	s := make([]byte, n)
	return len(s)
}

func init() { panic("this code must not run") }
"""
Bench = Callable[[Mapping[str, str]], Workshop]


def analysed(shop: Workshop, package: str = ".", part: Part = escape.ALL) -> Escapes:
    return escape.analyse(shop, Place(shop.roots[0]), package, part)


@pytest.mark.go
def test_heap_sites_have_their_function_and_the_chain_of_reasons(bench: Bench) -> None:
    found = analysed(bench({"m.go": CODE}))
    assert brief(each for each in found.sites if each.kind in HEAP)[:2] == [
        (8, "t", "moved_to_heap", "Leak", "return"),
        (13, "n", "escapes", "(*T).Show", "call parameter"),
    ]
    assert found.sites[0].flow[-1].place.endswith("m.go:9:2")
    assert any(each.expr == "make([]byte, n)" and each.kind == "no_escape" for each in found.sites)
    assert any("measure it with a benchmark" in each for each in found.caveats) or found.go_version < "go1.25"
    assert analysed(bench({"m.go": CODE})).sites == found.sites, "the second build is not replayed from a cache"


@pytest.mark.go
def test_a_part_of_the_package_can_be_asked_for(bench: Bench) -> None:
    shop = bench({"m.go": CODE, "other.go": "package m\n\nfunc Other() *int { x := 1; return &x }\n"})
    assert {each.line for each in analysed(shop, part=Part(function="T.Show")).sites} == {13}
    assert {each.expr for each in analysed(shop, part=Part(file="other.go")).sites} == {"x"}
    assert {each.line for each in analysed(shop, part=Part(first=8, last=8)).sites} == {8}
    large = analysed(shop, "strings", Part(function="Repeat"))
    assert large.counted()["heap"], "what the compiler says of a large package is read whole"
    with pytest.raises(TypeNotFound, match="Laek") as caught:
        analysed(shop, part=Part(function="Laek"))
    assert (caught.value.data["kind"], "Leak" in caught.value.hint) == ("unknown_function", True)
    with pytest.raises(InvalidParams, match="is a test"):
        analysed(shop, part=Part(file="m_test.go"))


@pytest.mark.go
def test_an_unsaved_buffer_is_what_is_compiled(bench: Bench) -> None:
    shop = bench({"m.go": CODE})
    path = shop.roots[0] / "m.go"
    with placed(shop, overlay={str(path): "package m\n\nfunc F() *int { y := 1; return &y }\n"}) as place:
        found = escape.analyse(shop, place, ".")
    assert [(each.file, each.expr) for each in found.sites] == [(str(path), "y")]
    assert path.read_text() == CODE


@pytest.mark.go
def test_a_piece_of_code_needs_no_module(bench: Bench, go: Toolchain) -> None:
    with snippet.module("func F() *int { y := 1; return &y }", go) as place:
        assert [each.expr for each in escape.analyse(bench({}), place, ".").sites] == ["y"]


@pytest.mark.go
def test_line_comments_lead_to_no_other_file(bench: Bench) -> None:
    code = "package m\n\n//line /etc/passwd:1\nfunc F() *int { x := 1; return &x }\n"
    found = analysed(bench({"m.go": code}))
    assert [(Path(each.file).name, each.line, each.expr) for each in found.sites] == [("m.go", 4, "x")]
    assert "passwd" not in str(found.as_json())
    assert any("//line" in each for each in found.caveats)


@pytest.mark.go
@pytest.mark.parametrize(
    ("files", "package", "kind"),
    [
        ({"m.go": "package m\n\nvar x int = nope\n"}, ".", "compile_error"),
        ({"m.go": "package m\n\nfunc {\n"}, ".", "compile_error"),
        ({"m.go": 'package m\n\nimport _ "example.org/nope"\n'}, ".", "module_not_available"),
        ({"m.go": "package m\n"}, "./nowhere", "package_not_found"),
        ({"m.go": "package m\n", "sub/read.me": ""}, "./sub", "no_go_files"),
        ({"m.go": "//go:build special\n\npackage m\n"}, ".", "excluded_by_build_tags"),
        ({"m.go": "package m\n", "go.mod": "module m\n\ngo 1.99\n"}, ".", "go_too_old"),
        ({"m.go": "package m\n", "sub/go.mod": "module sub\n", "sub/s.go": "package sub\n"}, "./sub", "nested_module"),
    ],
)
def test_what_cannot_be_compiled_is_an_error_with_a_remedy(
    bench: Bench, files: dict[str, str], package: str, kind: str
) -> None:
    with pytest.raises(ToolchainFailed) as caught:
        analysed(bench(files), package)
    assert (caught.value.data["kind"], bool(caught.value.hint)) == (kind, True)
    if kind == "compile_error":
        assert any("m.go:3" in each for each in caught.value.data["diagnostics"])


@pytest.mark.go
def test_what_is_outside_of_the_roots_is_not_compiled(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "go.mod").write_text("module example.com/outside\n")
    (outside / "o.go").write_text("package outside\n\nfunc F() *int { x := 1; return &x }\n")
    replaced = "module example.com/m\n\ngo 1.22\n\nrequire example.com/outside v0.0.0\n\n"
    replaced += "replace example.com/outside => ../outside\n"
    imports = 'package m\n\nimport _ "example.com/outside"\n'
    shop = bench({"m.go": imports, "go.mod": replaced})
    for package in ("../outside", str(outside), "example.com/outside"):
        with pytest.raises(AddressRefused):
            analysed(shop, package)
    (shop.roots[0] / "link").symlink_to(outside)
    with pytest.raises(AddressRefused):
        analysed(shop, "./link")
    assert analysed(shop, "errors").sites, "the standard library can always be asked about"


@pytest.mark.go
@pytest.mark.shared
def test_the_fixture_that_was_counted_has_what_was_counted(bench: Bench) -> None:
    if not TRUTH.exists():
        pytest.skip("no measured code beside the checkout (../shared)")
    found = analysed(bench({"esc.go": (TRUTH / "fixture/esc/esc.go.txt").read_text()}))
    assert found.counted()["heap"] == 11
    reasons = {(each.line, each.expr): each.reason for each in found.sites}
    assert reasons[13, "b"] == "return"
    assert reasons[38, "a"] == "too large for stack"
    assert reasons[50, "&Big{}"] == "assign"
    assert {(s.expr, s.to) for s in found.sites if s.kind == "leaks_param"} == {("p", "~r0"), ("k", "{heap}")}


def test_a_long_list_says_what_it_does_not_show() -> None:
    sites = tuple(Site("/m/a.go", n, 1, "x", "escapes", "F", "return") for n in range(1, 101))
    shown = escape.text(Escapes("m", Path("/m"), sites, (), "go1.27.3", "amd64"))
    assert "a.go:1:1 x escapes in F: return" in shown
    assert "40 more" in shown
