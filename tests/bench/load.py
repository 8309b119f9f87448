"""A hundred clients of one server at the same time become a table: what was lost, who waited, what it cost.

The server is a process of its own that was started by `ragmacs serve --socket`. It searches pages made of the
handbook's sentences. Each client has a connection and one request at a time: of ten, eight search, one asks and one
summarizes, by an LLM on loopback that is silent for 300 ms before its first token. One client in twenty vanishes in
the middle of a request. Meanwhile the server crawls and embeds pages that it does not know, and then
`ragmacs reindex` publishes all of it once more. That is one run; the second one finds a warm server.

    python tests/bench/load.py --clients 100 --requests 20
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from ragmacs_srv.serve.framing import frame  # noqa: E402
from tests import llm_server  # noqa: E402
from tests.servers import Answer, Site, Visit, serve  # noqa: E402

MIX = ("search",) * 8 + ("ask", "summarize")
SILENCE, TOKENS = 0.3, 50  # of the LLM: seconds before the first of so many
PATIENCE = 60.0  # seconds; a reply that takes longer is lost
INDEXING = 240.0  # the same, for a crawl
SEARCHES, PAUSE = 60, 0.05  # of one client, and the seconds that it needs for the next question
BUSY = -32000
SECTIONS = 6  # of a made-up page
Json = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much is asked of the server."""

    clients: int = 100
    requests: int = 20
    vanishing: float = 0.05  # of the clients
    pages: int = 200  # that are indexed before
    more: int = 40  # that are crawled during a run
    retries: int = 0  # how often a client comes back after the time that a busy server named


@dataclass(frozen=True)
class Asked:
    """One request and what became of it: "reply", "lost", or the code of an error."""

    method: str
    outcome: str
    seconds: float = 0.0
    generation: int = 0


@dataclass
class Run:
    """What one run saw, and what the server was before and after."""

    asked: list[Asked] = field(default_factory=list)
    strays: int = 0  # replies that nobody waited for any more
    vanished: int = 0
    before: Json = field(default_factory=dict)
    after: Json = field(default_factory=dict)
    seconds: float = 0.0
    indexed: tuple[int, int] = (0, 0)  # generations before and after

    def outcomes(self) -> Counter[str]:
        return Counter(each.outcome for each in self.asked)

    def busy(self) -> float:
        """The share of the requests that the server was too busy for."""
        return self.outcomes()[str(BUSY)] / max(1, len(self.asked))

    def errors(self) -> dict[str, int]:
        """Every outcome that should not be, with how often it was."""
        return {what: count for what, count in self.outcomes().items() if what not in {"reply", str(BUSY)}}

    def times(self, method: str) -> list[float]:
        """Seconds until the reply, ascending."""
        return sorted(each.seconds for each in self.asked if (each.method, each.outcome) == (method, "reply"))

    def generations(self) -> list[int]:
        return sorted({each.generation for each in self.asked if each.generation})


# What is indexed, and the LLM


def sentences() -> list[str]:
    """The handbook's prose."""
    pages = sorted((ROOT / "index" / "handbook").glob("*.md"))
    lines = [line for page in pages for line in page.read_text("utf-8").splitlines()]
    return [line for line in lines if len(line) > 60 and line[0].isalpha()]


def questions() -> list[str]:
    """What each heading of the handbook and a word of another have to do with each other: hardly one is asked twice."""
    pages = sorted((ROOT / "index" / "handbook").glob("*.md"))
    lines = [line for page in pages for line in page.read_text("utf-8").splitlines()]
    about = [line.lstrip("# ").lower() for line in lines if line.startswith("## ")]
    words = sorted({word for line in about for word in line.split() if len(word) > 4 and word.isalpha()})
    return [f"{line} and {word}?" for line, word in itertools.product(about, words)]


@contextmanager
def made_up_pages() -> Iterator[Site]:
    """A site whose page /NAME/N always says the same, and every other page something else."""
    known = sentences()

    def answer(visit: Visit) -> Answer:
        if visit.path == "/robots.txt":
            return Answer(b"User-agent: *\nAllow: /\n", type="text/plain")
        drawn = random.Random(visit.path)
        parts = [
            f'<h2 id="s{n}">Part {n} of {visit.path}</h2><p>{" ".join(drawn.choices(known, k=6))}</p>'
            for n in range(SECTIONS)
        ]
        text = "".join(parts)
        return Answer(
            f"<!doctype html><title>{visit.path}</title><article><h1>{visit.path}</h1>{text}</article>".encode()
        )

    with serve(answer) as site:
        yield site


class Slow:
    """The body of a reply whose first token takes its time."""

    def __iter__(self) -> Iterator[str]:
        time.sleep(SILENCE)
        yield from (llm_server.delta(text) for text in ("It grows", *[" and grows"] * (TOKENS - 3), " [1]", "."))
        yield from (llm_server.finish(), llm_server.DONE)


# The server


@dataclass(frozen=True)
class Server:
    """A running server: its socket, its process, and how `ragmacs` is run for the same home."""

    path: Path
    process: subprocess.Popen[bytes]
    environ: dict[str, str]

    def figures(self) -> Json:
        """What it costs now: descriptors, threads, memory that is its own (MB) and seconds of CPU."""
        proc = Path("/proc") / str(self.process.pid)
        if not proc.exists():  # macOS
            return {"descriptors": 0, "threads": 0, "anon_mb": 0.0, "cpu_s": 0.0}
        lines = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        spent = (proc / "stat").read_text().rpartition(")")[2].split()[11:13]
        return {
            "descriptors": len(os.listdir(proc / "fd")),  # noqa: PTH208 - their names are all we want
            "threads": int(lines["Threads"]),
            "anon_mb": int(lines["RssAnon"].split()[0]) / 1024,
            "cpu_s": sum(map(int, spent)) / os.sysconf("SC_CLK_TCK"),
        }

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "ragmacs_srv.cli", *args]


@contextmanager
def started(home: Path, llm: str) -> Iterator[Server]:
    """A server of HOME that asks the LLM at that address."""
    path = home / "run" / "load.sock"
    environ = {
        **os.environ,
        "RAGMACS_HOME": str(home),
        "RAGMACS_LLM_BASE_URL": llm,
        "RAGMACS_LLM_MODEL": "stub",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "ragmacs_srv", "serve", "--socket", str(path)]
    with (home / "server.log").open("wb") as log, subprocess.Popen(command, env=environ, stderr=log) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not path.exists() and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.02)
            yield Server(path, process, environ)
        finally:
            process.terminate()


# The clients


class Line:
    """One connection, which has one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sent = 0
        self.strays = 0

    def send(self, method: str, params: Json) -> int:
        self._sent += 1
        self._writer.write(frame({"jsonrpc": "2.0", "id": self._sent, "method": method, "params": params}))
        return self._sent

    async def ask(self, method: str, params: Json) -> Json:
        """The reply to a request; raises OSError, EOFError or TimeoutError when there is none."""
        key = self.send(method, params)
        async with asyncio.timeout(INDEXING if method.startswith("index/") else PATIENCE):
            while (message := await self._next()).get("id") != key:
                self.strays += "id" in message
        return message

    async def _next(self) -> Json:
        head = await self._reader.readuntil(b"\r\n\r\n")
        return dict(json.loads(await self._reader.readexactly(int(head.split(b":")[1]))))

    def vanish(self) -> None:
        """Go without a word."""
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Line]:
    line = Line(*await asyncio.open_unix_connection(str(path), limit=2**24))
    try:
        yield line
    finally:
        await line.close()


class Load:
    """Everything that happens to one server in one run."""

    def __init__(self, server: Server, site: Site, plan: Plan, number: int) -> None:
        self._server = server
        self._site = site
        self._plan = plan
        self._number = number
        self._questions = questions()
        self._begun = asyncio.Event()  # a tenth of the requests has its reply
        self.run = Run()

    async def all(self) -> Run:
        plan, run = self._plan, self.run
        run.before = self._server.figures()
        at = time.monotonic()
        leaving = set(random.Random(self._number).sample(range(plan.clients), round(plan.vanishing * plan.clients)))
        clients = [asyncio.create_task(self._client(n, n in leaving)) for n in range(plan.clients)]
        indexing = asyncio.create_task(self._index())
        await asyncio.gather(*clients)
        run.seconds = time.monotonic() - at
        self._begun.set()
        run.indexed = await indexing
        await self._quiet()
        run.after = self._server.figures()
        return run

    async def _client(self, number: int, leaves: bool) -> None:
        drawn = random.Random(f"{self._number} {number}")
        methods = [MIX[(number + n) % len(MIX)] for n in range(self._plan.requests)]
        last = drawn.randrange(len(methods)) if leaves else -1
        async with connected(self._server.path) as line:
            for n, method in enumerate(methods):
                params = self._params(method, drawn)
                if n == last:
                    line.send(method, params)
                    await asyncio.sleep(drawn.uniform(0, SILENCE))
                    line.vanish()
                    self.run.vanished += 1
                    return
                self.run.asked.append(await self._request(line, method, params))
                if len(self.run.asked) >= self._plan.clients * self._plan.requests / 10:
                    self._begun.set()
            await line.ask("ping", {})  # whatever came twice comes before its reply
            self.run.strays += line.strays

    def _params(self, method: str, drawn: random.Random) -> Json:
        if method == "summarize":
            return {"url": f"{self._site.origin}/before/{drawn.randrange(self._plan.pages)}", "length": 100}
        question = drawn.choice(self._questions)
        return {"query": question} if method == "search" else {"question": question, "token": drawn.randrange(9)}

    async def _request(self, line: Line, method: str, params: Json) -> Asked:
        began = time.monotonic()
        for left in reversed(range(self._plan.retries + 1)):
            try:
                reply = await line.ask(method, params)
            except (OSError, EOFError, TimeoutError) as exc:
                return Asked(method, f"lost: {type(exc).__name__}")
            code = reply.get("error", {}).get("code", 0)
            if not (left and code == BUSY):
                break
            await asyncio.sleep(reply["error"]["data"]["retry_after"])
        outcome = str(code) if code else "reply"
        return Asked(method, outcome, time.monotonic() - began, reply.get("result", {}).get("generation", 0))

    async def _index(self) -> tuple[int, int]:
        """Have the server crawl pages that it does not know, then all of it indexed anew by another process."""
        await self._begun.wait()
        async with connected(self._server.path) as line:
            before = (await line.ask("index/status", {}))["result"]["index"]["generation"]
            if self._plan.more:
                seeds = [f"{self._site.origin}/run{self._number}/{n}" for n in range(self._plan.more)]
                asked = {"targets": seeds, "name": f"run{self._number}", "depth": 0, "allow": [self._site.origin]}
                assert "result" in (await line.ask("index/crawl", asked))
                command, log = self._server.command("reindex"), asyncio.subprocess.DEVNULL
                process = await asyncio.create_subprocess_exec(
                    *command, env=self._server.environ, stdout=log, stderr=log
                )
                assert await process.wait() == 0
            after = (await line.ask("index/status", {}))["result"]["index"]["generation"]
        return before, after

    async def _quiet(self) -> None:
        """Wait until nothing is under way, after a search that opens what is newest."""
        deadline = time.monotonic() + PATIENCE
        async with connected(self._server.path) as line:
            self.run.asked.append(await self._request(line, "search", {"query": self._questions[0]}))
            while time.monotonic() < deadline:
                state = (await line.ask("server/status", {}))["result"]["server"]
                if state["clients"] == 1 and not any(lane["running"] for lane in state["queue"].values()):
                    break
                await asyncio.sleep(0.05)


# All of it


@contextmanager
def warmed(home: Path, plan: Plan) -> Iterator[tuple[Server, Site]]:
    """A server that has indexed what PLAN says, after a tenth of a run."""
    replies = [llm_server.Reply(Slow())] * (40 * plan.clients * plan.requests)
    with made_up_pages() as site, llm_server.scripted(*replies) as llm, started(home, llm.url) as server:
        seeds = [f"{site.origin}/before/{n}" for n in range(plan.pages)]
        targets = [*seeds, "--name", "before", "--depth", "0", "--allow", site.origin]
        subprocess.run(server.command("crawl", *targets), env=server.environ, check=True, capture_output=True)
        warm = Plan(max(1, plan.clients // 5), max(1, plan.requests // 2), 0.0, plan.pages, 0)
        asyncio.run(Load(server, site, warm, 0).all())
        yield server, site


def measure(server: Server, site: Site, plan: Plan, runs: int) -> list[Run]:
    """RUNS runs, one after the other."""
    return [asyncio.run(Load(server, site, plan, n + 1).all()) for n in range(runs)]


async def beside(server: Server, site: Site, pages: int) -> tuple[list[float], list[float]]:
    """Seconds that searches take one after the other: alone, and while the server crawls so many PAGES."""
    asked = random.Random(0).sample(questions(), 2 * SEARCHES)
    async with connected(server.path) as line, connected(server.path) as indexing:

        async def search() -> float:
            await asyncio.sleep(PAUSE)
            began = time.monotonic()
            assert "result" in await line.ask("search", {"query": asked.pop()})
            return time.monotonic() - began

        alone = [await search() for _ in range(SEARCHES)]
        seeds = [f"{site.origin}/beside/{n}" for n in range(pages)]
        params = {"targets": seeds, "name": "beside", "depth": 0, "allow": [site.origin]}
        crawl = asyncio.create_task(indexing.ask("index/crawl", params))
        meanwhile = [await search()]
        while not crawl.done() and asked:
            meanwhile.append(await search())
        assert "result" in await crawl
    return alone, meanwhile


def table(runs: Sequence[Run]) -> str:
    """The runs as the columns of a table."""
    rows: list[tuple[str, list[str]]] = [
        ("requests, answered", [f"{len(each.asked)}, {each.outcomes()['reply']}" for each in runs]),
        ("clients that vanished", [str(each.vanished) for each in runs]),
        ("busy", [f"{each.busy():.1%}" for each in runs]),
        ("other errors, lost", [str(each.errors() or 0) for each in runs]),
        ("replies nobody asked for", [str(each.strays) for each in runs]),
        *((f"{method} p50, p99 (s)", [_spread(each.times(method)) for each in runs]) for method in dict.fromkeys(MIX)),
        ("requests a second", [f"{len(each.asked) / each.seconds:.0f}" for each in runs]),
        ("seconds, of which CPU", [f"{each.seconds:.1f}, {_grown(each, 'cpu_s'):.1f}" for each in runs]),
        ("generations published, seen", [f"{_span(each.indexed)}, {_span(each.generations())}" for each in runs]),
        ("RssAnon before, after (MB)", [_both(each, "anon_mb") for each in runs]),
        ("descriptors before, after", [_both(each, "descriptors") for each in runs]),
        ("threads before, after", [_both(each, "threads") for each in runs]),
    ]
    head = ["what", *(f"run {n}" for n in range(1, len(runs) + 1))]
    lines = [head, ["---"] * len(head), *([what, *cells] for what, cells in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spread(times: Sequence[float]) -> str:
    if len(times) < 2:
        return "-"
    return f"{statistics.median(times):.3f}, {statistics.quantiles(times, n=100)[98]:.3f}"


def _grown(run: Run, what: str) -> float:
    return float(run.after[what] - run.before[what])


def _both(run: Run, what: str) -> str:
    return f"{run.before[what]:.0f}, {run.after[what]:.0f}"


def _span(numbers: Sequence[int]) -> str:
    return f"{min(numbers)}..{max(numbers)}" if numbers else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("clients", "requests", "pages", "more", "retries"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Plan(), name))
    parser.add_argument("--runs", type=int, default=2)
    given = vars(parser.parse_args())
    runs = given.pop("runs")
    with tempfile.TemporaryDirectory() as home:
        plan = Plan(**given)
        with warmed(Path(home), plan) as (server, site):
            print(table(measure(server, site, plan, runs)))
            alone, meanwhile = asyncio.run(beside(server, site, plan.more))
            print(f"one client: search p50, p99 alone {_spread(alone)}, while the server crawls {_spread(meanwhile)}")


if __name__ == "__main__":
    main()
