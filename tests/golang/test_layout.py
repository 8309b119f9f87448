"""What is said of a type is what the compiler does with it, or an error: never a guess."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ragmacs_srv.errors import AddressRefused, InvalidParams, ToolchainError
from ragmacs_srv.events import Cancel, Progress
from ragmacs_srv.golang import canvas, layout, snippet, svg, table, toolchain
from ragmacs_srv.golang.layout import Layout, heap_class, short
from ragmacs_srv.golang.toolchain import Target, Toolchain
from ragmacs_srv.golang.workshop import Place, Workshop, placed
from tests.conftest import SHARED

TRUTH = SHARED / "go-truth"

SHAPES = """
package shapes

import (
	"sync/atomic"
	"time"
)

// Mixed is in the worst order.
type Mixed struct {
	A bool
	// P points.
	P *int `json:"p"`
	B, C bool // both
	N int32
}

type Pair[K comparable, V any] struct {
	Key K
	Val V
	Ok  bool
}

type InnerTail struct {
	X int64
	B struct {
		Y int64
		Z bool
	}
	W int64
}

type Atomic struct {
	F uint32
	N atomic.Int64
}

type Times struct {
	At  time.Time
	Dur time.Duration
}

type Array struct {
	H byte
	E [3]struct {
		A int32
		B byte
	}
}

type Page [65536]byte
type Number int
type Pointer *Mixed
type Stray struct {
	A bool
	// belongs to nothing

	B int64
	C bool
}

type Huge struct{ A [1 << 40][1 << 40]byte }

var Global struct{ A bool }

func Local() {
	type inFunc struct {
		A bool
		B int64
	}
	_ = inFunc{}
	_ = Mixed{true, nil, false, false, 1}
}
"""

FILES = {
    "go.mod": "module example.com/m\n\ngo 1.22\n",
    "shapes/shapes.go": SHAPES,
    "shapes/shapes_test.go": "package shapes\n\ntype OnlyInTests struct{ A bool }\n",
    "shapes/outer_test.go": "package shapes_test\n\ntype OnlyOutside struct{ A int16 }\n",
    "wrong/wrong.go": "package wrong\n\ntype Good struct{ A bool; B int64 }\n\ntype Bad struct{ X Nowhere }\n",
    "missing/missing.go": 'package missing\n\nimport "example.org/nope"\n\ntype M struct{ N nope.T }\n',
    "tagged/tagged.go": "//go:build special\n\npackage tagged\n\ntype T struct{ A int64 }\n",
    "tagged/other.go": "package tagged\n",
    "cgo/cgo.go": 'package cgo\n\nimport "C"\n\ntype T struct{ A C.int }\n',
    "nested/go.mod": "module example.com/nested\n\ngo 1.22\n",
    "nested/nested.go": "package nested\n",
}


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("code")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(scope="session")
def shop(go: Toolchain, code: Path, cache: Path) -> Workshop:
    return Workshop(lambda: go, cache, (code,), Cancel())


Lay = Callable[..., Layout]


@pytest.fixture(scope="session")
def lay(shop: Workshop, code: Path) -> Lay:
    """The layout of a type of the module: lay("./shapes", "Mixed", goarch="386")."""

    def run(package: str, name: str, overlay: dict[Path, str] | None = None, **target: Any) -> Layout:
        at = target.pop("at", None)
        return layout.lay_out(shop, Place(code, Target(**target), overlay or {}), package, name, at=at)

    return run


# What the compiler says


@pytest.mark.go
@pytest.mark.parametrize(
    ("name", "goarch", "expected"),
    [
        ("Mixed", "amd64", (24, 8, 16)),
        ("Mixed", "386", (16, 4, 8)),
        ("Pair[int8, string]", "amd64", (32, 8, 16)),
        ("Pair[uint16, time.Duration]", "amd64", (24, 8, 0)),
        ("InnerTail", "amd64", (32, 8, 0)),
        ("Atomic", "386", (16, 8, 0)),
        ("Times", "386", (28, 4, 20)),
        ("Page", "amd64", (65536, 1, 0)),
        ("inFunc", "amd64", (16, 8, 0)),
        ("Global", "amd64", (1, 1, 0)),
        ("OnlyInTests", "amd64", (1, 1, 0)),
        ("OnlyOutside", "amd64", (2, 2, 0)),
    ],
)
def test_size_align_and_pointers_are_those_of_the_compiler(
    lay: Lay, name: str, goarch: str, expected: tuple[int, int, int]
) -> None:
    found = lay("./shapes", name, goarch=goarch)
    assert (found.size, found.align, found.ptr_bytes) == expected
    assert_whole(found)


@pytest.mark.go
@pytest.mark.parametrize(
    ("package", "name", "kind"),
    [
        ("./shapes", "Mixd", "unknown_type"),
        ("./shapes", "Number", "not_struct"),
        ("./shapes", "Pointer", "not_struct"),
        ("./shapes", "Pair", "generic"),
        ("./shapes", "Huge", "too_large"),
        ("./wrong", "Bad", "unresolved_field_type"),
        ("./missing", "M", "unresolved_field_type"),
        ("./tagged", "T", "unknown_type"),
        ("./cgo", "T", "cgo_disabled"),
        ("./nowhere", "T", "package_not_found"),
        ("./nested", "T", "nested_module"),
        ("example.org/nope", "T", "module_not_available"),
        ("fmt/nope", "T", "package_not_found"),
    ],
)
def test_what_has_no_known_layout_is_an_error_with_a_remedy(lay: Lay, package: str, name: str, kind: str) -> None:
    with pytest.raises(ToolchainError) as caught:
        lay(package, name)
    assert caught.value.data["kind"] == kind
    assert caught.value.message
    if kind == "unknown_type":
        assert {"Mixd": "Mixed", "T": "tagged.go"}[name] in caught.value.hint


@pytest.mark.go
def test_an_architecture_that_go_does_not_know_is_refused(lay: Lay) -> None:
    with pytest.raises(ToolchainError, match="bogus") as caught:
        lay("./shapes", "Mixed", goarch="bogus")
    assert caught.value.data["kind"] == "bad_goarch"


@pytest.mark.go
def test_errors_elsewhere_in_the_package_are_warnings(lay: Lay) -> None:
    found = lay("./wrong", "Good")
    assert (found.size, any("Nowhere" in each for each in found.warnings)) == (16, True)


@pytest.mark.go
def test_an_unsaved_buffer_stands_in_place_of_its_file(lay: Lay, code: Path) -> None:
    path = code / "shapes/shapes.go"
    text = 'package shapes\n\nimport "sync"\n\ntype Unsaved struct{ A bool; M sync.Mutex; N int64 }\n'
    found = lay("./shapes", "Unsaved", {path: text})
    assert (found.size, found.file) == (24, str(path))
    assert path.read_text() == SHAPES


@pytest.mark.go
def test_the_type_at_a_line_is_found(lay: Lay, code: Path) -> None:
    path = code / "shapes/shapes.go"
    line = SHAPES.split("\n").index("\tN int32") + 1
    assert lay("./shapes", "", at=(path, line)).type == "Mixed"
    with pytest.raises(ToolchainError, match="no type at"):
        lay("./shapes", "", at=(path, 2))


@pytest.mark.go
def test_tags_choose_files(lay: Lay) -> None:
    assert lay("./tagged", "T", tags=("special",)).size == 8


@pytest.mark.go
def test_a_better_order_keeps_what_is_said_of_each_field(lay: Lay) -> None:
    found = lay("./shapes", "Mixed")
    assert found.optimal and found.suggestion
    assert (found.optimal.order, found.optimal.size) == (("P", "N", "A", "B", "C"), 16)
    assert found.suggestion.text.split("\n") == [
        "type Mixed struct {",
        "\t// P points.",
        '\tP *int `json:"p"`',
        "\tN int32",
        "\tA bool",
        "\tB bool // both",
        "\tC bool // both",
        "}",
    ]
    lines = SHAPES.split("\n")
    assert lines[found.suggestion.start - 1] == "type Mixed struct {"
    assert lines[found.suggestion.end - 1] == "}"
    assert [each.rpartition("/")[2].partition(":")[0] for each in found.unkeyed] == ["shapes.go"]


UNKEYED = """
package p

import tm "time"

type T struct { A bool; B int64; C bool }
type Ts []T
type G[K any] struct { K K }

var a = T{true, 1, true}
var b = T{A: true}

func f(at tm.Time) {
	_ = T{false, 2, false}
	_ = []*T{{false, 3, false}, {B: 3}}
	_ = Ts{{false, 4, false}}
	_ = map[T]T{{false, 5, false}: {}}
	_ = [...]T{
		{false, 6, false},
	}
	_ = map[string][]T{"x": {{false, 7, false}}}
	_ = &T{}
	_ = []int{1, 2}
	_ = G[T]{T{false, 8, false}}
}
"""


@pytest.mark.go
def test_literals_that_name_no_fields_are_found_in_functions_too(lay: Lay, code: Path) -> None:
    path = code / "unkeyed/unkeyed.go"
    path.parent.mkdir(exist_ok=True)
    path.write_text(UNKEYED)
    found = lay("./unkeyed", "T")
    lines = {int(each.rpartition("unkeyed.go:")[2].partition(":")[0]) for each in found.unkeyed}
    wanted = {n for n, line in enumerate(UNKEYED.split("\n"), 1) if re.search(r"(true|false), \d, (true|false)", line)}
    assert lines == wanted
    assert len(found.unkeyed) == len(wanted)


@pytest.mark.go
def test_a_comment_that_belongs_to_no_field_is_not_lost_to_a_suggestion(lay: Lay) -> None:
    found = lay("./shapes", "Stray")
    assert (found.optimal is not None, found.suggestion) == (True, None)


@pytest.mark.go
def test_the_program_is_built_once_and_says_so(go: Toolchain, code: Path, tmp_path: Path) -> None:
    said: list[Progress] = []
    shop = Workshop(lambda: go, tmp_path, (code,), Cancel(), said.append)
    for _ in range(2):
        layout.lay_out(shop, Place(code), "errors", "errorString")
    assert [(each.done, each.total) for each in said] == [(0, 1), (1, 1)]


@pytest.mark.go
@pytest.mark.parametrize("goarch", ["amd64", "386"])
def test_random_structs_are_laid_out_as_a_compiled_program_says(
    go: Toolchain, shop: Workshop, goarch: str, tmp_path: Path
) -> None:
    """And the order that is suggested is what it claims, and never larger."""
    count = 300
    types = "\n".join(f"type T{n} struct {{ {written(random.Random(n))} }}" for n in range(count))
    (tmp_path / "go.mod").write_text("module random\n\ngo 1.22\n")
    (tmp_path / "types.go").write_text(f'package main\n\nimport (\n\t"sync/atomic"\n\t"time"\n)\n\n{types}\n')
    asked = layout.survey(shop, Place(tmp_path, Target(goarch)), ".")
    assert len(asked) == count
    (tmp_path / "main.go").write_text(printing(asked))
    done = toolchain.run(go, ["build", "-o", "print", "."], cwd=tmp_path, cancel=Cancel(), target=Target(goarch))
    assert done.code == 0, done.stderr
    printed = toolchain.started([str(tmp_path / "print")], cwd=tmp_path, environ={}, cancel=Cancel())
    for each, line in zip(asked, printed.stdout.decode().splitlines(), strict=True):
        size, align, optimal, *offsets = map(int, line.split())
        assert (each.size, each.align) == (size, align)
        starts: dict[str, int] = {}
        for row in each.rows:
            if not row.is_padding:
                starts.setdefault(row.name.split(".")[1], row.start)
        assert [starts[f"F{n}"] for n in range(len(starts))] == offsets
        assert (each.optimal.size if each.optimal else each.size) == optimal <= size
        assert_whole(each)


SCALARS = ["bool", "int8", "int16", "int32", "int64", "uint", "float32", "complex64", "complex128", "uintptr", "string"]
OTHERS = ["*int", "[]byte", "map[string]int", "func()", "any", "error", "chan int", "struct{}", "[0]int64", "[3]int16"]
FOREIGN = ["time.Duration", "atomic.Int64", "atomic.Bool", "atomic.Uint32"]


def written(chosen: random.Random) -> str:
    kinds = [chosen.choice(SCALARS + OTHERS + FOREIGN) for _ in range(chosen.randint(0, 9))]
    return "; ".join(f"F{n} {kind}" for n, kind in enumerate(kinds))


def printing(found: list[Layout]) -> str:
    """A program that prints size, alignment, the size in the suggested order, and the offsets of each type."""
    lines = []
    for each in found:
        fields = {row.name.split(".")[1] for row in each.rows if not row.is_padding}
        names = sorted(fields, key=lambda name: int(name[1:]))
        offsets = "".join(f", unsafe.Offsetof(v.{name})" for name in names)
        order = each.optimal.order if each.optimal else names
        best = "; ".join(f"{name} {kind_of(each, name)}" for name in order)
        lines.append(
            f"\t{{ var v {each.type}; type best struct {{ {best} }}; _ = v;"
            f" fmt.Println(unsafe.Sizeof(v), unsafe.Alignof(v), unsafe.Sizeof(best{{}}){offsets}) }}"
        )
    head = 'package main\n\nimport (\n\t"fmt"\n\t"sync/atomic"\n\t"time"\n\t"unsafe"\n)\n\n'
    return head + "var _ time.Duration\nvar _ atomic.Bool\n\nfunc main() {\n" + "\n".join(lines) + "\n}\n"


def kind_of(found: Layout, name: str) -> str:
    group = next((each for each in found.groups if each.name == f"{found.type}.{name}"), None)
    return short(group.type if group else next(r.type for r in found.rows if r.name == f"{found.type}.{name}"))


def assert_whole(found: Layout) -> None:
    """The rows cover every byte once, in order."""
    at = 0
    for row in found.rows:
        assert row.start == at
        at = row.end
    assert at == found.size


@pytest.mark.go
@pytest.mark.shared
@pytest.mark.parametrize("goarch", ["amd64", "386"])
def test_every_type_that_was_measured_agrees(go: Toolchain, shop: Workshop, goarch: str, tmp_path: Path) -> None:
    if not TRUTH.exists():
        pytest.skip("no measured types beside the checkout (../shared)")
    for path in (TRUTH / "fixture").rglob("*.txt"):
        made = tmp_path / path.relative_to(TRUTH / "fixture").with_suffix("")
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(path.read_bytes())
    (tmp_path / "go.mod").write_text("module example.com/layouts\n\ngo 1.22\n")
    rows = [(".", "./shapes", row) for row in measured(f"own_{goarch}.jsonl")]
    if go.version == "go1.27.3":
        rows += [(".", row["type"].rpartition(".")[0], row) for row in measured(f"std_go1.27.3_{goarch}.jsonl")]
    for _, package, row in rows:
        found = layout.lay_out(shop, Place(tmp_path, Target(goarch)), package, row["type"].rpartition(".")[2])
        said = {"size": found.size, "align": found.align, "ptrdata": found.ptr_bytes}
        assert said.items() >= {key: row[key] for key in said if key in row}.items(), row["type"]
        assert_whole(found)


def measured(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TRUTH / "compiler" / name).read_text().splitlines()]


# What follows from it


@pytest.mark.parametrize(
    ("size", "ptr_bytes", "word", "expected"),
    [
        (0, 0, 8, 0),
        (2, 0, 8, 8),
        (33, 0, 8, 48),
        (512, 8, 8, 512),
        (520, 8, 8, 576),
        (1016, 8, 8, 1024),
        (1020, 0, 8, 1024),
        (1024, 8, 8, 1152),
        (192, 4, 4, 208),
        (128, 4, 4, 128),
        (32768, 0, 8, 32768),
        (40000, 0, 8, 40960),
    ],
)
def test_the_heap_takes_what_its_classes_allow(size: int, ptr_bytes: int, word: int, expected: int) -> None:
    assert heap_class(size, ptr_bytes, word) == expected


def node(name: str, kind: str, offset: int, size: int, **more: Any) -> dict[str, Any]:
    more |= {"struct": True} if "fields" in more else {}
    return {"name": name, "type": kind, "offset": offset, "size": size, "align": 8, "ptr_bytes": 0, **more}


def answered(root: dict[str, Any], **more: Any) -> dict[str, Any]:
    said = {"package": "example.com/p", "type": root["name"], "file": "/p.go", "line": 1, "goarch": "amd64"}
    return {
        **said,
        "word_size": 8,
        "root": root,
        "optimal": None,
        "suggestion": None,
        "unkeyed": [],
        "warnings": None,
        **more,
    }


def test_padding_belongs_to_the_struct_that_has_it() -> None:
    inner = node("B", "struct{Y int64; Z bool}", 8, 16, fields=[node("Y", "int64", 0, 8), node("Z", "bool", 8, 1)])
    found = layout.read(
        answered(node("T", "p.T", 0, 32, fields=[node("X", "int64", 0, 8), inner, node("W", "int64", 24, 8)])),
        "go1.27.3",
    )
    assert [(row.name, row.start, row.end, row.depth) for row in found.rows] == [
        ("T.X", 0, 8, 1),
        ("T.B.Y", 8, 16, 2),
        ("T.B.Z", 16, 17, 2),
        ("", 17, 24, 2),
        ("T.W", 24, 32, 1),
    ]
    assert [(group.name, group.start, group.end) for group in found.groups] == [("T.B", 8, 24)]
    assert (found.padding_bytes, found.padding_bytes_deep) == (7, 7)


def test_padding_in_the_elements_of_an_array_is_counted_deep_only() -> None:
    elem = node("[]", "p.E", 0, 8, fields=[node("A", "int32", 0, 4), node("B", "byte", 4, 1)])
    array = node("Es", "[3]p.E", 0, 24, len=3, elem=elem)
    found = layout.read(answered(node("T", "p.T", 0, 24, fields=[array])), "go1.27.3")
    assert (found.padding_bytes, found.padding_bytes_deep) == (0, 9)


def test_rows_are_as_structlayout_prints_them() -> None:
    found = layout.read(
        answered(node("T", "p.T", 0, 16, fields=[node("A", "bool", 0, 1), node("B", "int64", 8, 8)])), ""
    )
    rows = found.structlayout()
    assert rows[1] == {"name": "", "type": "", "start": 1, "end": 8, "size": 7, "align": 0, "is_padding": True}
    assert [list(row) for row in rows] == [["name", "type", "start", "end", "size", "align", "is_padding"]] * 3


@pytest.mark.parametrize(
    ("long", "shortened"),
    [
        ("net/http.Header", "http.Header"),
        ("map[string]*example.com/a-b/c.T", "map[string]*c.T"),
        ("func(a/b.C, d/e/f.G) error", "func(b.C, f.G) error"),
        ("example.com/m.Pair[int8,net/url.URL]", "m.Pair[int8,url.URL]"),
        ("bool", "bool"),
    ],
)
def test_types_are_shown_without_the_paths_of_packages(long: str, shortened: str) -> None:
    assert short(long) == shortened


# Shown


def many(count: int, size: int = 8) -> Layout:
    fields = [node(f"F{n}<&>", "a/b.T", n * size, size, ptr_bytes=8 * (n % 2)) for n in range(count)]
    return layout.read(answered(node("T", "p.T", 0, count * size, fields=fields)), "go1.27.3")


@pytest.mark.parametrize(("count", "size"), [(0, 8), (1, 1), (3, 8), (1, 65536), (300, 8), (2, 8000)])
@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_a_picture_is_well_formed_and_bounded(count: int, size: int, theme: canvas.Theme) -> None:
    drawn = svg.svg(many(count, size), theme)
    root = ElementTree.fromstring(drawn)
    assert float(root.get("height", "")) < 60 + 130 * min(count + 1, svg.MOST)
    assert ("prefers-color-scheme" in drawn) == (theme == "auto")
    texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any("+100 more rows" in each for each in texts) == (count == 300)
    assert count == 0 or any("F0<&>" in each for each in texts)


def test_offsets_in_a_picture_are_the_compilers() -> None:
    inner = node("B", "struct{Y int64; Z bool}", 8, 16, fields=[node("Y", "int64", 0, 8), node("Z", "bool", 8, 1)])
    found = layout.read(
        answered(node("T", "p.T", 0, 32, fields=[node("X", "int64", 0, 8), inner, node("W", "int64", 24, 8)])), ""
    )
    root = ElementTree.fromstring(svg.svg(found))
    offsets = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text") if each.get("class") == "faint end"]
    assert [each for each in offsets if each in {"0", "8", "16", "17", "24"}][-2:] == ["24", "8"]


def test_a_theme_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidParams, match="sepia"):
        canvas.theme("sepia")


def test_a_table_counts_what_it_does_not_show() -> None:
    shown = table.table(many(300))
    assert f"… {300 - table.MOST} more rows, to byte 2400" in shown
    assert "already the best" in shown


# Pieces of code, and what may be read


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("type T struct{ M sync.Mutex }", 'package snippet; import "sync"; type T struct{ M sync.Mutex }'),
        ("package p\n\ntype T struct{}", "package p\n\ntype T struct{}"),
        ("package p // time.Now\nvar x = time.Now()", 'package p; import "time" // time.Now\nvar x = time.Now()'),
        ('package p\nimport "time"\nvar x time.Time', 'package p\nimport "time"\nvar x time.Time'),
        (
            'type T struct{ S string `json:"time.Time"` }',
            'package snippet; type T struct{ S string `json:"time.Time"` }',
        ),
        ("func f(url URL) { url.Path() }", "package snippet; func f(url URL) { url.Path() }"),
        ("type R rand.Rand", 'package snippet; import "math/rand"; type R rand.Rand'),
    ],
)
def test_a_piece_of_code_gets_what_it_lacks(text: str, completed: str) -> None:
    assert snippet.completed(text) == completed


@pytest.mark.go
def test_a_piece_of_code_needs_no_module(shop: Workshop, go: Toolchain) -> None:
    with snippet.module("type T struct { a bool; t time.Time; b bool }", go) as place:
        assert layout.lay_out(shop, place, ".", "T").size == 40


def test_code_outside_of_the_roots_is_not_read(tmp_path: Path) -> None:
    shop = Workshop(lambda: pytest.fail("no Go is needed"), tmp_path, (tmp_path / "in",), Cancel())
    (tmp_path / "in").mkdir()
    for folder, overlay in (("/etc", {}), (str(tmp_path), {}), ("relative", {}), ("", {"/etc/passwd": ""})):
        with pytest.raises(AddressRefused), placed(shop, folder, overlay=overlay):
            pass
    with pytest.raises(InvalidParams, match="no folder"), placed(shop, str(tmp_path / "in" / "nowhere")):
        pass
    with placed(shop) as place:
        assert place.folder == tmp_path / "in"
