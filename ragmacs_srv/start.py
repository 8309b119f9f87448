"""A command line becomes a run of `cli` in this process; Ctrl-C is one line from the first moment on."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Load what the command line needs, which takes a while, and run it."""
    signal.signal(signal.SIGINT, _leave)
    argv = sys.argv[1:]
    if {"serve", "--stdio"} <= set(argv):
        from .serve.stdio import guarded

        guarded()  # before anything that may print is loaded
    if argv in (["serve", "--stdio"], ["serve", "--detach"]):
        from .serve import daemon

        sys.exit(daemon.main(argv[1]))
    from .cli import run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _leave(number: int, frame: object) -> None:
    """End here and now: nothing was begun, and an exception inside an import ends up anywhere."""
    os.write(2, b"ragmacs: cancelled\n")
    os._exit(130)
