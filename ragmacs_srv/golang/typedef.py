"""A Go type becomes its real definition and those of the types it is made of: what code that makes one must know."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import helper
from .workshop import Place, Workshop, inside, reachable

WIDE: Final = 300  # characters of a line of constants


@dataclass(frozen=True, slots=True)
class Field:
    """A field that code in the package which asks can set."""

    name: str
    type: str
    exported: bool
    tag: str
    embedded: bool
    kind: str  # as reflect.Kind names it

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Definition:
    """A named type; types are written as code in the package that asks writes them."""

    name: str
    package: str
    pos: str  # file:line
    underlying: str
    fields: tuple[Field, ...]
    hidden: int  # fields that only its own package can name
    constants: tuple[str, ...]  # `http.SameSiteLaxMode = 2`
    implementers: tuple[str, ...]  # of an interface: in the package that asks, its own, and what the former imports
    recursive: bool
    constructors: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "pkg": self.package,
            "pos": self.pos,
            "underlying": self.underlying,
            "fields": [each.as_json() for each in self.fields],
            "hidden_fields": self.hidden,
            "consts_of_type": list(self.constants),
            "implementations_of_interface_in_module": list(self.implementers),
            "recursive": self.recursive,
            "constructors": list(self.constructors),
        }

    def text(self) -> str:
        """The definition as Go source, with what else is known as comments."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        notes = [", an instance"] if "[" in self.name else []
        yield f"// {self.pos}{''.join(notes)}{', holds itself' if self.recursive else ''}"
        name = self.name.rpartition(".")[2] if "[" not in self.name else self.name
        if self.underlying != "struct":
            yield f"type {name} {self.underlying}"
        else:
            yield f"type {name} struct {{"
            for each in self.fields:
                tag = f" `{each.tag}`" if each.tag else ""
                yield f"\t{'' if each.embedded else each.name + ' '}{each.type}{tag}"
            if self.hidden:
                yield f"\t// and {self.hidden} that only {self.package} can name"
            yield "}"
        for what, names in (("", self.constants), ("implemented by ", self.implementers)):
            if names:
                line = what + ", ".join(names)
                yield f"// {line if len(line) <= WIDE else line[:WIDE] + ' …'}"
        yield from (f"// {each}" for each in self.constructors)


@dataclass(frozen=True, slots=True)
class Closure:
    """A type, the first of `types`, and those that it leads to; `more` were left out."""

    root: str
    package: str  # in which the types are written so
    types: tuple[Definition, ...]
    more: int
    go_version: str
    goarch: str
    goos: str
    warnings: tuple[str, ...]
    ms: int

    def as_json(self) -> dict[str, Any]:
        return {
            "root": self.root,
            "package": self.package,
            "types": [each.as_json() for each in self.types],
            "more": self.more,
            "go_version": self.go_version,
            "goarch": self.goarch,
            "goos": self.goos,
            "warnings": list(self.warnings),
            "ms": self.ms,
        }

    def imports(self) -> list[str]:
        """The packages that code which names all of the types imports."""
        return sorted({each.package for each in self.types if each.package not in {"", self.package}})

    def text(self) -> str:
        """All definitions as Go source: the type itself first, then what it is made of, the nearest first."""
        head = f"// {self.root} and what it is made of, as {self.go_version} sees it from package {self.package}"
        imports = [f'// import "{path}"' for path in self.imports()]
        parts = ["\n".join([head, *imports]), *(each.text() for each in self.types)]
        if self.more:
            parts.append(f"// … and {self.more} more types")
        return "\n\n".join(parts)


def typedef(
    shop: Workshop, place: Place, package: str, type_name: str = "", *, at: tuple[Path, int] | None = None
) -> Closure:
    """TYPE_NAME in PACKAGE, as `go list` takes it at PLACE, or the type AT a (file, line), with what it leads to.

    Values, pointers, slices, maps, arrays and channels are followed for three steps and 60 types; fields that only
    another package can name are counted. Raises as `fill` does, and AddressRefused.
    """
    began = time.monotonic()
    wanted = [{"package": reachable(shop, place, package), "type": type_name}]
    request: dict[str, Any] = {"op": "typedef", "wanted": wanted}
    if at:
        request |= {"file": str(at[0]), "line": at[1]}
    answer, go = helper.ask(shop, place, request)
    inside(shop, place, answer["dir"])
    return Closure(
        root=answer["root"],
        package=answer["package"],
        types=tuple(_definition(each, str(go.goroot)) for each in answer["types"]),
        more=answer["more"],
        go_version=go.version,
        goarch=answer["goarch"],
        goos=answer["goos"],
        warnings=tuple(answer["warnings"] or ()),
        ms=round((time.monotonic() - began) * 1000),
    )


def _definition(said: Mapping[str, Any], goroot: str) -> Definition:
    return Definition(
        name=said["name"],
        package=said["pkg"],
        pos=said["pos"].replace("$GOROOT", goroot),
        underlying=said["underlying"],
        fields=tuple(Field(**each) for each in said["fields"]),
        hidden=said["hidden"],
        constants=tuple(said["consts_of_type"]),
        implementers=tuple(said["implementations_of_interface_in_module"]),
        recursive=said["recursive"],
        constructors=tuple(said["constructors"]),
    )
