"""The command line: arguments become calls on App; answers go to stdout, everything else to stderr.

A command is a function in the module of its subject, made one by `terminal.command`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from typing import Annotated, cast

import typer

from .. import __version__, render
from ..errors import Cancelled, InvalidParams, RagmacsError, StorageError
from .terminal import cli, shielded

# Each registers its commands, in the order of --help.
from . import asking, summarizing, batching, adding, reading, state, serving, models, evaluation  # isort: skip  # noqa: F401
from . import golang, allocations, doc, generate, profiles, explaining  # isort: skip  # noqa: F401

# Of every wrong use; typer has no public name for it.
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])


@cli.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        print(__version__)  # noqa: T201
        raise typer.Exit


def main() -> None:
    """Run the command line; the only place where failures become exit codes."""
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    as_json = "--json" in sys.argv[1:]
    try:
        # Standing alone, it prints wrong usage itself, for people.
        sys.exit(cli(shielded(sys.argv[1:]), standalone_mode=not as_json))
    except UsageError as exc:
        _fail(InvalidParams(exc.format_message(), hint="ragmacs --help"))
    except RagmacsError as exc:
        _fail(exc)
    except KeyboardInterrupt:
        _fail(Cancelled())
    except BrokenPipeError:  # `ragmacs … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as exc:  # stdout is full or gone
        _fail(StorageError(f"the output cannot be written: {exc.strerror}", hint="free some disk space"))
    except Exception as exc:  # noqa: BLE001 - the rim: whatever is left is a bug of ours
        if "-v" in sys.argv or "--verbose" in sys.argv:
            traceback.print_exc()
        _fail(RagmacsError(f"internal error: {type(exc).__name__}: {exc}", hint="run it again with -v"))


def _fail(exc: RagmacsError) -> None:
    """Say what went wrong on stderr, under --json as one JSON object, and exit."""
    as_json = "--json" in sys.argv[1:]
    print(render.failure(exc.code, exc.message, exc.hint, as_json=as_json), file=sys.stderr)  # noqa: T201
    sys.exit(exc.exit_code)


def run() -> None:
    """`main`, as a process of its own: it does not wait for an embedder that nobody waits for any more."""
    try:
        main()
    except SystemExit as exc:
        if not any(thread.daemon for thread in threading.enumerate()):
            raise
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(exc.code if isinstance(exc.code, int) else bool(exc.code))  # C++ threads do not survive Python's end
