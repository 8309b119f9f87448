"""What a Go program printed when it died becomes why it died, what that means, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from . import why

_SAID: Final = re.compile(
    r"^(?:fatal error: .*|panic: .*|runtime: goroutine stack exceeds .*|runtime: out of memory.*|SIG[A-Z]+: .*"
    r"|signal: killed.*|.*\bOOMKilled\b.*|.*\bexit (?:status|code):? 137\b.*|(?:.*: )?Killed|.*malformed GOMEMLIMIT.*"
    r"|.*Out of memory: Killed process.*)$",
    re.MULTILINE,
)
# What is said: (pattern, what it is, what it means and what to do, why that matters); the first that matches counts.
_KNOWN: Final = (
    (
        r"out of memory|cannot allocate memory",
        "The operating system gave the program no more memory",
        "The runtime asked for more and was refused: a limit of the machine or of the process (ulimit -v), or one"
        " huge allocation; the first lines of the dump name who asked. This is not the memory limit of Go, which "
        "makes the collector work, and never stops a program. Take a heap profile (inuse_space) before it gets "
        "there.",
        why.MEMORY,
    ),
    (
        r"signal: killed|OOMKilled|\b137\b|\bKilled\b",
        "The program was killed from outside (SIGKILL)",
        "Most often by the kernel, because the container or the machine had no more memory; a Go program does not"
        " notice and prints no trace. Set GOMEMLIMIT to 90-95 % of the container's limit, and take a heap profile"
        " (inuse_space) to see what is live: a live heap that does not fit is not helped by a limit.",
        why.MEMORY,
    ),
    (
        r"malformed GOMEMLIMIT",
        "GOMEMLIMIT has a value that Go does not take",
        "It is a whole number of bytes with an optional unit B, KiB, MiB, GiB or TiB, or off: 460MiB, not 460M.",
        why.MEMORY,
    ),
    (
        r"stack overflow|stack exceeds",
        "A goroutine's stack grew beyond its limit",
        "Stacks grow as they need to, up to 1 GB (250 MB on 32 bits): a recursion does not end. The functions "
        "that repeat in the dump are it.",
        why.STACK,
    ),
    (
        r"deadlock",
        "All goroutines wait, and nobody is left who could wake one of them",
        "Each goroutine below waits for something that no other will do: a send without a receiver, a Wait "
        "without a Done, a lock that is held. Only a program where nothing at all can go on is found so; one "
        "leaked goroutine in a server is not, which is what a goroutine profile is for.",
        why.GOROUTINES,
    ),
    (
        r"concurrent map",
        "Two goroutines used one map at the same time, and one of them wrote",
        "Maps are not safe for that. Guard it with a sync.Mutex, or use sync.Map. `go test -race` and `go run "
        "-race` show both places; the dump shows only the one that noticed.",
        why.RACES,
    ),
    (
        r"nil pointer dereference|nil map",
        "Something was used that is nil",
        "The first line of the dump that is in your code is where; it is about a value that was never set, or an "
        "error that was not looked at.",
        (),
    ),
    (
        r"index out of range|slice bounds out of range",
        "An index lies outside of its slice, array or string",
        "The message has the index and the length; the first line of the dump that is in your code is where.",
        (),
    ),
    (
        r"closed channel|close of nil channel",
        "A channel was used after it was closed, or closed twice",
        "Only who sends may close a channel, once, when nobody else sends any more; with several senders let "
        "another goroutine close it when all have returned (sync.WaitGroup).",
        why.GOROUTINES,
    ),
    (
        r"negative WaitGroup counter|unlock of unlocked",
        "A lock or a sync.WaitGroup was released more often than it was taken",
        "Look for a second Done or Unlock on one way through the code; defer next to Add and Lock keeps pairs.",
        why.GOROUTINES,
    ),
    (
        r"^SIG(?:QUIT|ABRT)",
        "The program was asked to end with a dump of its goroutines",
        "That is no crash: somebody pressed Ctrl-\\ or sent SIGQUIT, or a test ran into its timeout. Where "
        "goroutines wait for minutes is what to look at.",
        why.GOROUTINES,
    ),
    (
        r"test timed out after",
        "A test ran longer than its timeout",
        "The goroutines below are where it was: one that waits for minutes is what it waited for.",
        why.GOROUTINES,
    ),
    (
        r"^panic: ",
        "The program panicked, and nobody recovered",
        "The message is the program's own; the first line of the dump that is in your code is where.",
        (),
    ),
    (
        r"",
        "The Go runtime stopped the program",
        "The runtime found its own state broken: most often by a data race, by unsafe or by cgo; `-race` is the "
        "first try.",
        why.RACES,
    ),
)


@dataclass(frozen=True, slots=True)
class Crash:
    """What the program SAID, what that is, and what it MEANS."""

    said: str
    name: str
    means: str
    pages: why.Pages

    def as_json(self) -> dict[str, Any]:
        return {"said": self.said, "name": self.name, "means": self.means}


def read(text: str) -> Crash | None:
    """Why the program that printed TEXT died; None where it does not say so."""
    found = _SAID.search(text)
    if found is None:
        return None
    said = found[0].strip()[:500]
    for pattern, name, means, pages in _KNOWN:
        if re.search(pattern, said):
            return Crash(said, name, means, pages)
    return None
