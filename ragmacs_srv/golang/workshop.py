"""What a caller says of their code becomes a folder that may be read, and the files in place of those on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InvalidParams
from ..events import Cancel, Sink, ignore
from ..roots import below
from .toolchain import HERE, Target, Toolchain, operand


@dataclass(frozen=True, slots=True)
class Workshop:
    """With what Go code is looked at: which go, where our own program is kept, what may be read, and who waits.

    `find` gives the toolchain, or raises ToolchainMissing. Only what is below one of `roots` is read, beside the
    standard library and what the code imports.
    """

    find: Callable[[], Toolchain]
    cache: Path
    roots: tuple[Path, ...]
    cancel: Cancel
    sink: Sink = ignore


@dataclass(frozen=True, slots=True)
class Place:
    """Where a package is looked for, for which machine, and what stands in place of files, by absolute path."""

    folder: Path
    target: Target = HERE
    overlay: Mapping[Path, str] = field(default_factory=dict)


@contextmanager
def placed(
    shop: Workshop, folder: str = "", target: Target = HERE, overlay: Mapping[str, str] | None = None
) -> Iterator[Place]:
    """The Place of FOLDER with OVERLAY, both checked; without a folder the first root, or one where nothing is.

    Raises AddressRefused for what is outside of the roots, and InvalidParams for what is not there.
    """
    files = {below(path, shop.roots): text for path, text in (overlay or {}).items()}
    if folder:
        chosen = below(folder, shop.roots)
        if not chosen.is_dir():
            raise InvalidParams(f"{folder} is no folder", hint="name the folder of the package, or of its module")
        yield Place(chosen, target, files)
    elif shop.roots and shop.roots[0] != Path("/"):
        yield Place(shop.roots[0].absolute(), target, files)
    else:
        with tempfile.TemporaryDirectory(prefix="ragmacs-go-") as nowhere:
            yield Place(Path(nowhere), target, files)


def reachable(shop: Workshop, place: Place, package: str) -> str:
    """PACKAGE as an operand of `go` at PLACE; raises InvalidParams, and AddressRefused outside of the roots."""
    if operand(package).startswith(("./", "../", "/")) or package == "..":
        below(str(place.folder / package), (place.folder, *shop.roots))
    return package


def inside(shop: Workshop, place: Place, folder: str) -> None:
    """Raise AddressRefused where FOLDER, in which Go found a package of the user's, is outside of the roots."""
    if folder and not Path(folder).is_relative_to(place.folder.resolve()):
        below(folder, shop.roots)
