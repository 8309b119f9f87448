"""The process's own stdin and stdout become two private descriptors; a stray print goes to stderr.

Jsonrpc.el stops for ever at a hundred bytes that are no frame, and libraries print while they load.
"""

from __future__ import annotations

import os
from functools import cache


@cache
def guarded() -> tuple[int, int]:
    """(what to read from, what to write to): where 0 and 1 led when this was first called.

    From then on 0 is empty and 1 is stderr, here and in every process that is started.
    """
    source, sink = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return source, sink
