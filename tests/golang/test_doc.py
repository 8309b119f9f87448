"""Documentation comes from the machine itself, below the roots and from what the code depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from ragmacs_srv.errors import AddressRefused, InvalidParams, ToolchainError
from ragmacs_srv.golang import doc
from ragmacs_srv.golang.doc import split
from ragmacs_srv.golang.workshop import Place, Workshop

Bench = Callable[[Mapping[str, str]], Workshop]
CODE = """\
// Package m is for tests.
package m

// Pool keeps things.
type Pool struct{ hidden int }

// Get takes one.
func (p *Pool) Get() int { return p.hidden }

func unseen() {}
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("net/http", ("net/http", "")),
        ("net/http.Client.Do", ("net/http", "Client.Do")),
        ("fmt.newPrinter", ("fmt", "newPrinter")),
        ("json.Decoder", ("encoding/json", "Decoder")),
        ("json", ("encoding/json", "")),
        ("gopkg.in/yaml.v3", ("gopkg.in/yaml.v3", "")),
        ("gopkg.in/yaml.v3.Node", ("gopkg.in/yaml.v3", "Node")),
        ("./pool.Pool", ("./pool", "Pool")),
        ("../pool", ("../pool", "")),
        ("..", ("..", "")),
        (".", (".", "")),
        ("/a/b.c/d.E", ("/a/b.c/d", "E")),
    ],
)
def test_a_name_is_split_where_the_package_ends(name: str, expected: tuple[str, str]) -> None:
    assert split(name) == expected


@pytest.mark.go
@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (("sync.Pool.Get",), {}, "Get selects an arbitrary item"),
        (("sync", "Pool"), {}, "type Pool struct"),
        ((".",), {}, "Package m is for tests."),
        ((".", "Pool.Get"), {"source": True}, "return p.hidden"),
        (("example.com/m", "unseen"), {"unexported": True}, "func unseen()"),
    ],
)
def test_names_are_documented(bench: Bench, arguments: tuple[str, ...], options: dict[str, bool], says: str) -> None:
    shop = bench({"m.go": CODE})
    assert says in doc.explain(shop, Place(shop.roots[0]), *arguments, **options).text  # type: ignore[arg-type]


@pytest.mark.go
@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("sync.Poool",), "unknown_symbol"),
        ((".", "unseen"), "unknown_symbol"),
        (("nope/nope",), "package_not_found"),
        (("example.org/nope.T",), "module_not_available"),
    ],
)
def test_what_is_not_there_is_an_error(bench: Bench, arguments: tuple[str, ...], kind: str) -> None:
    shop = bench({"m.go": CODE})
    with pytest.raises(ToolchainError) as caught:
        doc.explain(shop, Place(shop.roots[0]), *arguments)
    assert caught.value.data["kind"] == kind


@pytest.mark.go
def test_code_outside_of_the_roots_is_not_documented(bench: Bench) -> None:
    shop = bench({"m.go": CODE})
    for name in ("..", "/etc", "../other.T"):
        with pytest.raises(AddressRefused):
            doc.explain(shop, Place(shop.roots[0]), name)
    for symbol in ("-http", "Pool;x", "a b", "A.B.C"):
        with pytest.raises(InvalidParams, match="no name"):
            doc.explain(shop, Place(shop.roots[0]), ".", symbol)
