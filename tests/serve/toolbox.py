"""Tools that do one thing each that a transport must carry."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Annotated

from ragmacs_srv.app import App
from ragmacs_srv.errors import FetchError
from ragmacs_srv.events import Progress
from ragmacs_srv.registry import Result, define

Text = Annotated[str, "Any text."]


def echo(app: App, text: Text, times: Annotated[int, "How often."] = 1) -> Result:
    """Say it again."""
    return Result(text * times, {"text": text, "times": times})


def count(app: App, to: Annotated[int, "Where to stop."]) -> Result:
    """Count, and say how far, in two jobs."""
    for job in ("read", "embed"):
        for n in range(to + 1):
            app.sink(Progress(job, n, to))
    return Result("counted")


def linger(app: App, folder: Text) -> Result:
    """Write `begun` into a folder, work until cancelled, then write `stopped`."""
    Path(folder, "begun").touch()
    try:
        app.sink(Progress("linger", 1, None, "begun"))
        app.cancel.wait(60)
    finally:
        Path(folder, "stopped" if app.cancel.cancelled else "late").touch()
    return Result("nobody cancelled")


def flood(app: App, folder: Text) -> Result:
    """Report progress until cancelled, then write `stopped` into a folder."""
    n = 0
    while not app.cancel.cancelled:
        app.sink(Progress("flood", n := n + 1, None, "x" * 100))
    Path(folder, "stopped").touch()
    app.cancel.check()
    raise AssertionError


def chatter(app: App) -> Result:
    """Print by every way there is."""
    print("stray print")
    os.write(1, b"stray write\n")
    subprocess.run(["echo", "stray child"], check=True)
    return Result("said nothing")


def swallow(app: App) -> Result:
    """Read all of standard input, as a child process might."""
    done = subprocess.run(["cat"], capture_output=True, check=True)
    return Result(f"{len(done.stdout)} bytes")


def refuse(app: App) -> Result:
    """Fail as a page does that is not there."""
    raise FetchError("https://go.dev/nowhere answered 404", hint="look at the address")


def stumble(app: App) -> Result:
    """Fail as a bug does."""
    return Result(str(1 // 0))


def change(app: App) -> Result:
    """Declare what wants consent."""
    return Result("changed")


PLAIN = (echo, count, linger, flood, chatter, swallow, refuse, stumble)
TOOLS = {each.__name__: define(each) for each in PLAIN} | {
    "change": define(change, open_world=True, changes_state=True)
}
