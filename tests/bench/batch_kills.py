"""Kill a run over a reading list at random moments, and look at what the site was asked for again.

    python tests/bench/batch_kills.py [--kills 20] [--urls 200] [--bad 30]

The pages are those saved beside the checkout, else the demo's, served by two sites of our own that count requests.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ragmacs_srv.answer.journal import Journal  # noqa: E402
from tests import demo_site  # noqa: E402
from tests.servers import Answer, Site, Visit, serve  # noqa: E402

PAGES = ROOT.parent / "shared" / "site" / "pages"
SITES = 2  # so many pages may be under way when the run is killed
THINKS = 0.05  # seconds that a site takes for a page


@dataclass
class Found:
    """What came of it: how often the run was killed and what that cost; the last report by address."""

    kills: int = 0
    worst: int = 0  # most pages asked for again after one kill
    again: int = 0  # pages asked for again, in all
    recorded: list[str] = field(default_factory=list)  # asked for again though the journal had them
    progress: list[int] = field(default_factory=list)  # addresses recorded before each run
    states: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    wanted: dict[str, str] = field(default_factory=dict)

    @property
    def wrong(self) -> list[str]:
        return [url for url, state in self.wanted.items() if self.states.get(url) != state]


def bodies(count: int) -> dict[str, bytes]:
    """COUNT pages by path."""
    saved = sorted(PAGES.rglob("*.html"))[:count] if PAGES.is_dir() else []
    found = {"/" + path.relative_to(PAGES).with_suffix("").as_posix(): path.read_bytes() for path in saved}
    for n in range(count - len(found)):
        found[f"/demo/page-{n}"] = demo_site.page(f"/demo/page-{n}")
    return found


@contextmanager
def sites(pages: Mapping[str, bytes]) -> Iterator[list[Site]]:
    def answer(visit: Visit) -> Answer:
        path = urlsplit(visit.path).path
        if path == "/robots.txt":
            return Answer(status=404)
        visit.site.closing.wait(THINKS)
        if path.startswith("/empty"):
            return Answer(b"<html><body></body></html>")
        return Answer(pages[path]) if path in pages else Answer(b"no such page", 404)

    with serve(answer) as first, serve(answer) as second:
        yield [first, second]


def wanted(running: list[Site], pages: Mapping[str, bytes], bad: int) -> dict[str, str]:
    """Every address of the list with the state that it must end in."""
    good = {f"{running[n % SITES].origin}{path}": "done" for n, path in enumerate(pages)}
    kinds = (
        lambda n: (f"{running[n % SITES].origin}/gone-{n}", "failed"),
        lambda n: (f"{running[n % SITES].origin}/empty-{n}", "failed"),
        lambda n: (f"http://10.0.0.{n + 1}/", "refused"),
        lambda n: (f"file:///etc/passwd-{n}", "refused"),
        lambda n: (f"htp:/broken-{n}", "refused"),
    )
    return good | dict(kinds[n % len(kinds)](n) for n in range(bad))


def killed(command: list[str], env: Mapping[str, str], moment: Callable[[], bool], late: float) -> bool:
    """Run COMMAND and kill its group LATE seconds after MOMENT has come; whether it was still running."""
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)
    while process.poll() is None and not moment():
        time.sleep(0.002)
    try:
        process.wait(late)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return True
    finally:
        process.wait()


def trial(folder: Path, *, kills: int, urls: int, bad: int, seed: int = 7) -> Found:
    """Kill a run over URLS addresses, BAD of them bad, KILLS times at any moment of its work, then let it end."""
    chance, found = random.Random(seed), Found()
    pages = bodies(urls - bad)
    output, listed = folder / "out.jsonl", folder / "list.txt"
    env = {**os.environ, "RAGMACS_HOME": str(folder / "home"), "RAGMACS_SEARCH_MODE": "lexical"}
    with sites(pages) as running:
        found.wanted = wanted(running, pages, bad)
        order = list(found.wanted)
        chance.shuffle(order)
        listed.write_text("\n".join(order))
        command = [sys.executable, "-m", "ragmacs_srv.cli", "batch", str(listed), "-o", str(output), "-q"]
        command += [part for site in running for part in ("--allow", site.origin)]
        asked: Counter[str] = Counter()
        while found.kills < kills:
            done = recorded(Path(f"{output}.batch"))
            goal = asked.total() + chance.randrange(2 * urls // (kills + 1))
            alive = killed(command, env, lambda goal=goal: requested(running).total() >= goal, chance.uniform(0, 0.2))
            take(found, asked, requested(running), done)
            found.kills += alive
            found.progress.append(len(done))
            if not alive:
                break
        done = recorded(Path(f"{output}.batch"))
        subprocess.run(command, env=env, capture_output=True, timeout=600)
        take(found, asked, requested(running), done)
    for line in output.read_text().splitlines():
        row = json.loads(line)
        for url in (row["url"], *row["also"]):
            found.states[url] = row["state"]
            found.reasons[url] = row["reason"]
    return found


def requested(running: list[Site]) -> Counter[str]:
    return Counter(site.origin + target for site in running for target in site.asked)


def recorded(journal: Path) -> set[str]:
    if not journal.exists():
        return set()
    with Journal(journal) as opened:
        return set(opened.records())


def take(found: Found, before: Counter[str], now: Counter[str], done: set[str]) -> None:
    """Add what the last run asked for to FOUND, and to BEFORE."""
    new = now - before
    again = [url for url in new if before[url]]
    found.worst, found.again = max(found.worst, len(again)), found.again + len(again)
    found.recorded += [url for url in new if url in done]
    before.update(new)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("kills", 20), ("urls", 200), ("bad", 30)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = trial(Path(folder), kills=given.kills, urls=given.urls, bad=given.bad)
    print(f"{found.kills} kills, {len(found.wanted)} addresses, {Counter(found.states.values())}")
    print(f"recorded before each run: {found.progress}")
    print(f"asked for again: {found.again} pages, {found.worst} after one kill at most ({SITES} were under way)")
    print(f"asked for again though recorded: {len(found.recorded)}; missing or in a wrong state: {len(found.wrong)}")
    for url in found.wrong:
        print(f"wrong: {url} is {found.states.get(url)}, not {found.wanted[url]}: {found.reasons.get(url)}")
    return bool(found.recorded or found.wrong or found.worst > SITES)


if __name__ == "__main__":
    sys.exit(main())
