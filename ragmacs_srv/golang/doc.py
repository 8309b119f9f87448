"""A package, or a name in it, becomes its documentation, or its source, as `go doc` has it on this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidParams, TypeNotFound
from . import package as packages
from . import toolchain
from .snippet import STANDARD
from .workshop import Place, Workshop


@dataclass(frozen=True, slots=True)
class Doc:
    """What `go doc` says about SYMBOL of a package, or about the package."""

    package: str
    symbol: str
    text: str
    go_version: str
    goroot: str
    argv: tuple[str, ...] = field(default=(), compare=False)
    ms: int = field(default=0, compare=False)

    def as_json(self) -> dict[str, Any]:
        return {
            "package": self.package,
            "symbol": self.symbol,
            "text": self.text,
            "go_version": self.go_version,
            "goroot": self.goroot,
            "argv": list(self.argv),
            "ms": self.ms,
        }


def explain(
    shop: Workshop, place: Place, name: str, symbol: str = "", *, source: bool = False, unexported: bool = False
) -> Doc:
    """The documentation of NAME, `net/http`, `net/http.Client.Do` or `json.Decoder`; or of SYMBOL in package NAME.

    SOURCE: the code itself, one level deep; UNEXPORTED: what is not exported, too. Raises TypeNotFound
    (`unknown_symbol`), ToolchainFailed (what keeps a package from being read), ToolchainMissing, AddressRefused,
    InvalidParams and Cancelled.
    """
    path, named = split(name)
    symbol = symbol or named
    if symbol and not re.fullmatch(r"\w+(\.\w+)?", symbol):
        raise InvalidParams(f"{symbol!r} is no name in a package", hint="for example Client, or Client.Do")
    go = shop.find()
    found, _ = packages.listed(shop, go, place, path)
    flags = [flag for flag, wanted in (("-src", source), ("-u", unexported)) if wanted]
    operands = [str(found.folder) if path.startswith((".", "/")) else found.path, *filter(None, [symbol])]
    output = toolchain.run(
        go, ["doc", "-cmd", *flags, "--", *operands], cwd=place.folder, cancel=shop.cancel, target=place.target
    )
    if output.code and symbol:
        hint = "" if unexported else "names that are not exported are found with unexported (--unexported)"
        more = {"kind": "unknown_symbol", "stderr_tail": output.stderr[-2000:]}
        raise TypeNotFound(f"package {found.path} has no {symbol}", hint=hint, data=more)
    if output.code:
        said = (packages.diagnostics(output.stderr.removeprefix("doc: "), (found.folder,), place.folder) or [""])[0]
        raise toolchain.error(output, "unreadable", f"package {found.path}: {said}", "correct its files first")
    text = output.stdout.decode(errors="replace").strip()
    return Doc(found.path, symbol, text, go.version, str(go.goroot), output.argv, output.ms)


def split(name: str) -> tuple[str, str]:
    """The package and the symbol in NAME: `net/http.Client.Do` is (`net/http`, `Client.Do`).

    The last part of the path of a package can have a dot itself: a symbol begins with a letter that is upper-case, or
    stands behind a package of the standard library. The latter may be named by its last part alone.
    """
    folder, slash, last = name.rpartition("/")
    package, dot, symbol = last.partition(".")
    if name.startswith(".") and not last.strip("."):
        return name, ""
    while dot and not (symbol[:1].isupper() or (folder + slash + package) in STANDARD.values() or package in STANDARD):
        more, dot, symbol = symbol.partition(".")
        package += "." + more
    path = folder + slash + package
    return STANDARD.get(path, path), symbol
