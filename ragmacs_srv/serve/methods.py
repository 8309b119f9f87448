"""The names of the protocol become calls on the App, and what it gives becomes JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from .. import __version__, pipeline, registry
from ..answer.batch import Options
from ..answer.summarize import LENGTH, STYLES, Style, Summary
from ..app import App
from ..errors import InvalidParams
from ..ingest import files, lists
from ..model import Answer, Page
from ..registry import Between
from ..roots import folders, local
from .apart import Apart
from .lanes import Lane
from .rpc import Call, Method, method

PROTOCOL = 1  # raised when a shape changes so that a client would misread it
LOOK_UP, WAIT, INDEX, LISTS = "search", "answer", "index", "batch"  # the kinds of work, each with threads of its own

Shape = dict[str, Any]
Collections = Annotated[Sequence[str], "Look in these collections only; NAME=2 weighs double."]
Allow = Annotated[Sequence[str], "Origins that may be fetched, too."]
Mirror = Annotated[Sequence[str], "FROM=TO: FROM's pages are fetched from TO."]
PORT = Between(0, 65535)
Url = Annotated[str, "Its address, or a file in a root; with #anchor that section alone."]


def lanes(room: int) -> dict[str, Lane]:
    """The threads: searches wait for no answer that an LLM writes, and nothing but indexing waits for indexing.

    ROOM is how many searches, and how many answers, may wait.
    """
    return {
        LOOK_UP: Lane(LOOK_UP, workers=8, room=room),  # so many questions are encoded in one pass
        WAIT: Lane(WAIT, workers=8, room=room),
        INDEX: Lane(INDEX, workers=1, room=4, retry_after=30.0),
        LISTS: Lane(LISTS, workers=2, room=4, retry_after=30.0),
    }


class Methods:
    """Everything that a client can ask for; STATE describes the server, STOP ends it, HTTP has it listen at a port.

    CONFIGURATION tells clients whether they have the same settings. What indexes is done APART, or else here.
    """

    def __init__(
        self,
        app: App,
        *,
        state: Callable[[], Shape],
        stop: Callable[[], None],
        http: Callable[[int | None], Shape],
        configuration: Mapping[str, str],
        apart: Apart | None = None,
    ) -> None:
        self._app = app
        self._apart = apart
        self._http = http
        self._configuration = configuration
        self._state = state
        self._stop = stop

    def table(self, *, debug: bool = False) -> dict[str, Method]:
        """Every method by its name; `debug/sleep` only for DEBUG."""
        return {
            "initialize": method(self.initialize),
            "ping": method(self.ping),
            "search": method(self.search, LOOK_UP),
            "ask": method(self.ask, WAIT),
            "summarize": method(self.summarize, WAIT),
            "batch": method(self.batch, LISTS),
            "batch/result": method(self.batch_result, WAIT),
            "fetch": method(self.fetch, WAIT),
            "tools/list": method(self.tools_list),
            "tools/call": Method(self.tools_call, _tool_call, WAIT),
            "tools/consent": Method(self.tools_consent, _tool_call, LOOK_UP),
            "index/crawl": self._indexing("index/crawl", method(self.crawl, INDEX)),
            "index/update": self._indexing("index/update", method(self.update, INDEX)),
            "index/status": method(self.index_status),
            "index/collections": method(self.index_collections, LOOK_UP),
            "index/diff": method(self.index_diff, LOOK_UP),
            "server/http": method(self.server_http, WAIT),
            "server/status": method(self.server_status),
            "server/stop": method(self.server_stop),
            "shutdown": method(self.shutdown),
            "exit": method(self.exit),
            **({"debug/sleep": method(self.sleep, WAIT)} if debug else {}),
        }

    def _indexing(self, name: str, known: Method) -> Method:
        """KNOWN by NAME, done apart if that is possible; its arguments are checked here all the same."""
        apart = self._apart
        if apart is None:
            return known

        def run(call: Call, **params: Any) -> Shape:
            return apart.call(name, params, sink=call.progress, cancel=call.cancel)

        def checked(params: Mapping[str, Any]) -> Shape:
            known.convert(params)
            return dict(params)

        return Method(run, checked, known.lane)

    # The connection

    def initialize(
        self,
        call: Call,
        client: Annotated[str, "Who asks."] = "",
        version: Annotated[str, "Of the client."] = "",
        roots: Annotated[Sequence[str], "Folders whose files may be read for this client."] = (),
    ) -> Shape:
        """What this server is and knows; no client has to ask."""
        call.peer.roots = folders(roots)
        return {
            "version": __version__,
            "protocol": PROTOCOL,
            "methods": sorted(call.peer.service.methods),
            "configuration": dict(self._configuration),
            **self.server_status(call),
        }

    def ping(self, call: Call, text: Annotated[str, "Comes back."] = "") -> Shape:
        """Answer."""
        return {"text": text}

    def shutdown(self, call: Call) -> Shape:
        """Take nothing more from this client but `exit`."""
        call.peer.shut = True
        return {"ok": True}

    def exit(self, call: Call) -> Shape:
        """End this connection."""
        call.peer.left = True
        return {"ok": True}

    def server_status(self, call: Call) -> Shape:
        """The process, its queues, and what is indexed."""
        return {"server": self._state(), **self._app.status()}

    def server_http(self, call: Call, port: Annotated[int, "0: any. Default: by the settings.", PORT] = -1) -> Shape:
        """Listen on HTTP, too, if this server does not yet: its address, and the file that holds the token."""
        return self._http(None if port < 0 else port)

    def server_stop(self, call: Call) -> Shape:
        """End the server, for every client."""
        call.afterwards(self._stop)
        return {"stopping": True}

    # Reading

    def search(
        self,
        call: Call,
        query: Annotated[str, "Words or a question; site:, release: and since: are filters."],
        k: Annotated[int, "How many results.", Between(1, 100)] = 0,
        collections: Collections = (),
    ) -> Shape:
        """The sections that match best."""
        started = time.monotonic()
        with self._request(call) as app:
            found = app.search(query, k=k, collections=collections)
        return {**found.as_json(), "took_ms": round((time.monotonic() - started) * 1000)}

    def ask(
        self,
        call: Call,
        question: Annotated[str, "In your own words; with filters as in search."],
        collections: Collections = (),
    ) -> Shape:
        """The answer, with quotes that can be opened; pieces of it go ahead as `$/delta`."""
        shape: Shape = {}
        with self._request(call) as app:
            for piece in app.ask(question, collections=collections):
                call.cancel.check()
                if isinstance(piece, Answer):
                    shape = piece.as_json()
                else:
                    call.delta(piece)
        return shape

    def summarize(
        self,
        call: Call,
        url: Url,
        length: Annotated[int, "Words at most."] = LENGTH,
        allow: Allow = (),
        mirror: Mirror = (),
        style: Annotated[str, f"One of {', '.join(STYLES)}."] = STYLES[0],
        language: Annotated[str, "In which an LLM is to write. Default: the page's."] = "",
        refresh: Annotated[bool, "Have the LLM write again what was kept."] = False,
    ) -> Shape:
        """A page in few words; its points go ahead as `$/delta`, a line each."""
        shape: Shape = {}
        with self._request(call) as app:
            page = _file(app, call, url)
            form: dict[str, Any] = {"length": length, "style": style, "language": language, "refresh": refresh}
            for piece in app.summarize(url, **form, allow=allow, mirror=mirror, page=page):
                call.cancel.check()
                if isinstance(piece, Summary):
                    shape = piece.as_json()
                else:
                    call.delta(piece.text + "\n")
        return shape

    def fetch(
        self,
        call: Call,
        url: Url,
        allow: Allow = (),
        mirror: Mirror = (),
        stored: Annotated[bool, "As it is indexed, without a request, when it is."] = False,
    ) -> Shape:
        """One page; nothing is stored."""
        with self._request(call) as app:
            page = app.indexed(url) if stored else None  # a file, too: that it may not be read now, changes nothing
            page = page or _file(app, call, url) or app.read(url, allow=allow, mirror=mirror)
        return page.at(url.partition("#")[2]).as_json()

    # Reading lists

    def batch(
        self,
        call: Call,
        text: Annotated[str, "The list, in any form that `ragmacs batch` reads."] = "",
        address: Annotated[str, "Where the list stands, instead of its text."] = "",
        length: Annotated[int, "Words of a summary, at most."] = LENGTH,
        collection: Annotated[str, "Make the pages a collection of this name."] = "",
        retry_failed: Annotated[bool, "Try again what failed or was refused."] = False,
        max_tokens: Annotated[int, "What the LLM may cost; 0: no bound.", Between(0, 10**9)] = 0,
        max_seconds: Annotated[float, "Then stop, to go on another time; 0: no bound.", Between(0, 10**6)] = 0.0,
        style: Annotated[Style, "Of the summaries."] = STYLES[0],
        language: Annotated[str, "In which an LLM is to write. Default: the page's."] = "",
        allow: Allow = (),
        mirror: Mirror = (),
    ) -> Shape:
        """Read and summarize a list, as far as that is not done yet; only known sites, and those allowed, are asked."""
        if bool(text.strip()) == bool(address):
            raise InvalidParams("batch takes the text of a list or its address", hint="give one of them")
        options = Options(length, retry_failed, max_tokens, max_seconds, style, language)
        with self._request(call) as app:
            opened: dict[str, Sequence[str]] = {"allow": allow, "mirror": mirror}
            if address:
                found = app.listed(address, allow=allow, mirror=mirror, known_only=True)
            else:
                found = lists.fold(lists.parse(text.encode()))
            title = f"Reading list: {address}" if address else "Reading list"
            return app.job(found, title, options, collection=collection, **opened).as_json()

    def batch_result(
        self,
        call: Call,
        job: Annotated[str, "The name that batch gave."],
        format: Annotated[Literal["json", "org", "md", "html", "jsonl"], "Of what is given."] = "json",  # noqa: A002
        start: Annotated[int, "The `next` of the part before.", Between(0, 10**9)] = 0,
    ) -> Shape:
        """Part of what became of a list: its items, or a report in another format."""
        with self._request(call) as app:
            return app.known_job(job).part(format, start)

    # The tools of a model

    def tools_list(self, call: Call) -> Shape:
        """What a model may call."""
        return {"tools": [each.as_json() for each in registry.tools()]}

    def tools_call(self, call: Call, name: str, arguments: object) -> Shape:
        """What a tool says; a failure is said in `text`, too, for the model to read."""
        with self._request(call) as app:
            done = registry.call(app, name, arguments)
        return {"text": done.text, "data": done.data, "error": done.error}

    def tools_consent(self, call: Call, name: str, arguments: object) -> Shape:
        """What to ask a person before the tool is called so; "" where nothing needs their consent."""
        with self._request(call) as app:
            return {"ask": registry.question(app, name, arguments)}

    # Indexing

    def crawl(
        self,
        call: Call,
        targets: Annotated[Sequence[str], "Collections and addresses."],
        name: Annotated[str, "Of the collection that the addresses become."] = "",
        depth: Annotated[int, "Links away from a start page.", Between(0, 100)] = -1,
        max_pages: Annotated[int, "Stop after so many.", Between(1, 1_000_000)] = 0,
        allow: Allow = (),
        mirror: Mirror = (),
    ) -> Shape:
        """Read collections, or the pages at some addresses, and make them searchable."""
        with self._request(call) as app:
            wanted = [source.within(depth, max_pages) for source in app.wanted(targets, name or None)]
            return _crawled([app.crawl(source, allow=allow, mirror=mirror) for source in wanted])

    def update(
        self,
        call: Call,
        collection: Annotated[str, "Default: all."] = "",
        failed: Annotated[bool, "Only what failed or was refused the last time."] = False,
        allow: Allow = (),
        mirror: Mirror = (),
    ) -> Shape:
        """Crawl again: only what changed is read."""
        with self._request(call) as app:
            reports = app.update([collection] if collection else [], failed=failed, allow=allow, mirror=mirror)
            if not reports:
                raise InvalidParams("nothing was crawled yet", hint="index/crawl, or ragmacs crawl go-gc")
            return _crawled(reports)

    def index_status(self, call: Call) -> Shape:
        """What is indexed, and who is writing."""
        return self._app.status()

    def index_collections(self, call: Call) -> Shape:
        """Each collection with its size, its age and how well it is."""
        with self._request(call) as app:
            return {"collections": app.collections()}

    def index_diff(
        self,
        call: Call,
        collection: Annotated[str, "Default: all."] = "",
        since: Annotated[str, "A date, or 7d. Default: the last update."] = "",
        text: Annotated[bool, "With what the sections said before, and say now."] = False,
    ) -> Shape:
        """The sections that updates found new, changed or removed."""
        with self._request(call) as app:
            return {"changes": [each.as_json(text=text) for each in app.diff(collection, since)]}

    # Testing

    def sleep(self, call: Call, seconds: Annotated[float, "How long.", Between(0, 60)] = 1.0) -> Shape:
        """Do nothing for a while."""
        call.cancel.wait(seconds)
        return {"slept": seconds}

    @contextmanager
    def _request(self, call: Call) -> Iterator[App]:
        """The App for this one call: its progress goes to the client, who can stop it."""
        with self._app.request(sink=call.progress, cancel=call.cancel, roots=call.peer.roots) as app:
            yield app


def _tool_call(params: Mapping[str, Any]) -> Shape:
    """The params that say how a tool is called, whose `arguments` are its own to check; raises InvalidParams."""
    unknown = params.keys() - {"name", "arguments"}
    if unknown or not isinstance(params.get("name"), str):
        what = f"there is no argument {min(unknown)!r}" if unknown else "the argument 'name' must be a string"
        raise InvalidParams(what, hint="a call of a tool takes name and arguments; tools/list names the tools")
    registry.lookup(params["name"])
    return {"name": params["name"], "arguments": params.get("arguments")}


def _file(app: App, call: Call, url: str) -> Page | None:
    """The page in the file at URL, or None when that is no file's address; raises AddressRefused outside the roots."""
    path = local(url, call.peer.roots)
    return app.extracted(files.read(path)) if path else None


def _crawled(reports: Sequence[pipeline.Report]) -> Shape:
    """What crawls did; raises FetchError when no page could be read."""
    if nothing := pipeline.nothing_read(reports):
        raise nothing
    return {"crawls": [each.as_json() for each in reports]}
