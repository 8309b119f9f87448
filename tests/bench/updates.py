"""What an update costs when one page of many has changed: requests, passages encoded, and CPU beside the first index.

The pages are the 129 saved ones beside the checkout, or as many of our own, each made of a part of the handbook. A
server on loopback gives them with ETags and counts. Every step is a process of its own, its start included, and what
its children take counts as well; the model is prepared before.

    python tests/bench/updates.py
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.servers import Answer, Visit, serve  # noqa: E402

SHARED = ROOT.parent / "shared"
PAGES = 129


@dataclass(frozen=True)
class Step:
    """One run of the command: seconds of CPU, the statuses that it was answered with, and what it left."""

    cpu: float
    statuses: Counter[int]
    encoded: int  # passages that have a vector now and had none before
    generation: str


def saved_pages() -> dict[str, bytes]:
    """Path to body of the saved pages; nothing where there are none."""
    if not SHARED.is_dir():
        return {}
    paths = [line.split("8737", 1)[1] for line in (SHARED / "bench/pages.txt").read_text().split()]
    found = {}
    for path in paths:
        for name in (path.strip("/"), f"{path.strip('/')}.html", f"{path.strip('/')}/index.html"):
            file = SHARED / "site/pages" / name
            if file.is_file():
                found[path] = file.read_bytes()
                break
    return found


def own_pages(number: int) -> dict[str, bytes]:
    """So many pages, each a page of the handbook with words of its own."""
    from ragmacs_srv.ingest.kinds import handbook

    texts = [response.body.decode() for response in handbook.responses()]
    made = {}
    for n in range(number):
        text = re.sub(r"\bthe (\w+)", rf"the \g<1>{n}", texts[n % len(texts)])
        made[f"/page/{n}.md"] = text.encode()
    return made


def measure(pages: Mapping[str, bytes], home: Path, environ: Mapping[str, str]) -> list[Step]:
    """The first index of PAGES in HOME, an update when nothing has changed, and one when a page has."""
    bodies, statuses = dict(pages), Counter[int]()

    def answer(visit: Visit) -> Answer:
        if visit.path == "/robots.txt":
            return Answer(b"", 404)
        body = bodies.get(visit.path)
        etag = f'"{hashlib.sha256(body or b"").hexdigest()[:20]}"'
        kind = "text/markdown" if visit.path.endswith(".md") else "text/html; charset=utf-8"
        given = Answer(body or b"", 200 if body else 404, kind, {"ETag": etag})
        if body and visit.headers.get("If-None-Match") == etag:
            given = Answer(b"", 304, "", {"ETag": etag})
        statuses[given.status] += 1
        return given

    with serve(answer) as site:
        listed = home / "list.txt"
        listed.write_text("\n".join(site.origin + path for path in pages))
        crawl = ["crawl", "--from", str(listed), "--depth", "0", "--name", "bench", "--allow", site.origin]
        step(["model", "prepare"], home, environ, statuses)
        steps = [step(crawl, home, environ, statuses), step(["update"], home, environ, statuses)]
        path = sorted(pages, key=lambda each: len(pages[each]))[len(pages) // 2]
        bodies[path] = changed(pages[path])
        return [*steps, step(["update"], home, environ, statuses)]


def changed(body: bytes) -> bytes:
    """BODY with one sentence more, at the end of the paragraph in its middle."""
    ends = [each.start() for each in re.finditer(rb"</p>", body)] or [
        each.start() for each in re.finditer(rb"\n\n", body)
    ]
    end = ends[len(ends) // 2]
    return body[:end] + b" This sentence was added for the update." + body[end:]


def step(arguments: list[str], home: Path, environ: Mapping[str, str], statuses: Counter[int]) -> Step:
    statuses.clear()
    before, spent = passages(home), used()
    command = [sys.executable, "-m", "ragmacs_srv.cli", *arguments]
    done = subprocess.run(command, env={**environ, "RAGMACS_HOME": str(home)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    made = max((each.name for each in home.glob("store/gen-*")), default="")
    return Step(used() - spent, Counter(statuses), len(passages(home) - before), made)


def used() -> float:
    """Seconds of CPU that the children of this process have taken, and theirs."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def passages(home: Path) -> set[str]:
    """The passages that have a vector."""
    path = home / "store/crawl.db"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as db:
        return {row[0] for row in db.execute("SELECT passage FROM vectors")}


def table(steps: list[Step]) -> str:
    first = steps[0].cpu
    lines = ["| what | CPU (s) | of the first | answers | passages encoded | generation |", "|---|---|---|---|---|---|"]
    for name, each in zip(("first index", "update, nothing changed", "update, one page changed"), steps, strict=True):
        answers = ", ".join(f"{count} x {status}" for status, count in sorted(each.statuses.items()))
        cells = (name, f"{each.cpu:.2f}", f"{each.cpu / first:.1%}", answers, each.encoded, each.generation)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=PAGES, help="how many, at most")
    parser.add_argument("--own", action="store_true", help="our own pages, even when there are saved ones")
    given = parser.parse_args()
    pages = (not given.own and saved_pages()) or own_pages(given.pages)
    with tempfile.TemporaryDirectory() as home:
        steps = measure(dict(islice(pages.items(), given.pages)), Path(home), os.environ)
    print(f"{min(len(pages), given.pages)} pages, {steps[0].encoded} passages\n\n{table(steps)}")


if __name__ == "__main__":
    main()
