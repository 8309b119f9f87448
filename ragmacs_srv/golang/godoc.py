"""The source of the standard library becomes its documentation, as our Go program reads it on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from ..errors import ToolchainFailed
from ..events import Cancel
from . import helper
from .toolchain import Toolchain
from .workshop import Workshop, placed


@dataclass(frozen=True, slots=True)
class Documentation:
    """What the packages of the user's Go say of themselves; the Go is looked for when it is first asked."""

    shop: Workshop

    def stamp(self) -> str:
        """Names the toolchain and our program: while both stay, so does what they say. Raises ToolchainMissing."""
        return helper.stamp(self.shop.find())

    def standard(self, cancel: Cancel) -> Sequence[str]:
        """The import paths that code can use, of the standard library; raises as `helper.ask` does."""
        paths, _ = self._ask({"op": "std"}, cancel)
        return tuple(paths)

    def package(self, path: str, cancel: Cancel) -> bytes:
        """The package PATH of the standard library, or in a folder, as JSON; raises as `helper.ask` does.

        It has `path`, `name`, `version` and `sections`: each has `anchor`, `heading`, `place` and `pieces` of Markdown.
        """
        try:
            said, go = self._ask({"op": "doc", "package": path}, cancel)
        except ToolchainFailed as exc:
            if exc.data.get("kind") == "package_not_found":
                close = get_close_matches(path, self.standard(cancel), n=1)
                exc.hint = f"did you mean {close[0]}?" if close else exc.hint
            raise
        return json.dumps({"version": go.version, **said}, ensure_ascii=False).encode()

    def _ask(self, request: dict[str, Any], cancel: Cancel) -> tuple[Any, Toolchain]:
        shop = replace(self.shop, roots=(), cancel=cancel)  # nobody's code is read but Go's own
        with placed(shop) as place:
            return helper.ask(shop, place, request)
