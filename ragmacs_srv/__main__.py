"""The entry point: a command line becomes a run of `cli`, and Ctrl-C is one line from the first moment on."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Load the command line, which takes a while, and run it."""
    signal.signal(signal.SIGINT, _leave)
    if {"serve", "--stdio"} <= set(sys.argv):
        from .serve.stdio import guarded

        guarded()  # before anything that may print is loaded
    if sys.argv[1:] == ["serve", "--stdio"]:
        from .serve.daemon import main as relay

        sys.exit(relay())
    from .cli import run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _leave(number: int, frame: object) -> None:
    """End here and now: nothing was begun, and an exception inside an import ends up anywhere."""
    os.write(2, b"ragmacs: cancelled\n")
    os._exit(130)


if __name__ == "__main__":
    main()
