"""Names and addresses become collections: read, read again, described, forgotten."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from . import pipeline, proposal
from .answer.batch import Row
from .answer.journal import Journal
from .errors import (
    AddressRefused,
    InvalidParams,
    NotIndexed,
    SettingsError,
)
from .holdings import GROWN_CHUNKS, Holdings
from .ingest import kinds, plans, sources
from .ingest.kinds import handbook
from .ingest.plans import Guess
from .ingest.urls import origin
from .model import Source
from .pipeline import Growth, Reader, Report
from .proposal import Plan
from .search import history, roster
from .search.database import writer
from .search.generation import NAMES
from .search.history import Change
from .search.store import CRAWL_DB, Receipt, Store, look

log = logging.getLogger(__name__)

UNREADABLE = "cannot be read"

WITHOUT = {"failed", "refused", "gone", "left"}  # what became of an address that gave no page, or none any more


class Collecting(Holdings):
    """Collections: what could be one, read, read again, described, forgotten."""

    def shelve(self, name: str, title: str, rows: Sequence[Row], journal: Journal, **options: Sequence[str]) -> Report:
        """Make the pages of ROWS, as JOURNAL has them, the collection NAME; OPTIONS are those of an update of it."""
        done = [(row.entry.url, row.record.page) for row in rows if row.record.points]
        urls = tuple(url for url, _ in done)
        if not done:
            raise NotIndexed(f"no page of the list could be read: there is nothing to index as {name!r}")
        source = self.added(Source(name, title, urls, depth=0, max_pages=len(urls)))
        arrivals = ((url, page, journal.page(page)) for url, page in done)
        known = {key: list(value) for key, value in options.items()}
        with self.store() as store, self.reader() as reader:
            report = pipeline.shelve(store, reader, source, arrivals, options=known, sink=self.sink, cancel=self.cancel)
            pipeline.drop_repeats(store, reader, sorted({origin(url) for url in urls}))
            self._publish(store, reader)
        return report

    def source(self, name: str) -> Source:
        """The collection NAME: the handbook, or one with a file."""
        if name == sources.HANDBOOK:
            return handbook.source()
        return sources.load(name, self.settings.folders.sources)

    def way_to(self, name: str) -> str:
        """What has the collection NAME read, or where to look when there is none of that name."""
        if name == sources.HANDBOOK or name in sources.files(self.settings.folders.sources):
            return f"ragmacs crawl {name}"
        close = get_close_matches(name, [each for each, _, _ in self.known_collections()], n=1)
        return f"did you mean {close[0]!r}? {NAMES}" if close else NAMES

    def wanted(self, targets: Sequence[str], name: str | None = None) -> list[Source]:
        """The collections that TARGETS name, and one, called NAME, made of the addresses among them."""
        name = checked_name(name)
        addresses = [each for each in targets if kinds.is_address(each)]
        if not self.own:
            for each in addresses:
                kinds.check_open(each)
        found = [self.source(each) for each in targets if each not in addresses]
        if addresses:
            host = re.sub(r"[^\w.-]+", "-", addresses[0].split("://")[-1].partition("/")[0]).strip("-")[:64] or "pages"
            found.append(self.added(Source(name or host, f"Pages of {host}", tuple(addresses), depth=2, max_pages=200)))
        if not found:
            known = ", ".join(sources.files(self.settings.folders.sources))
            raise InvalidParams("nothing to crawl", hint=f"name a collection ({known}) or an address")
        return found

    def added(self, source: Source) -> Source:
        """SOURCE, made of addresses, with those that a collection of its name was made of before.

        Raises InvalidParams for the name of a collection that has a file: it would lose its pages.
        """
        if source.name == sources.HANDBOOK or source.name in sources.files(self.settings.folders.sources):
            raise InvalidParams(f"{source.name!r} is the name of another collection", hint="name yours with --name")
        if not (self.settings.folders.store / CRAWL_DB).exists():
            return source
        with self.store() as store:
            known = store.collection(source.name)
        seeds = tuple(dict.fromkeys((*(known[0].seeds if known else ()), *source.seeds)))
        return replace(source, seeds=seeds, max_pages=max(source.max_pages, len(seeds)))

    def meant(self, address: str, look: plans.Look) -> Guess | Source:
        """What ADDRESS means: a collection that there is, by its name or its seeds, or else one that could be made.

        Raises InvalidParams for what cannot be one, AddressRefused for what this App may not name.
        """
        files = sources.files(self.settings.folders.sources)
        if address in {*files, sources.HANDBOOK}:
            return self.source(address)
        if address in {name for name, _, _ in self.known_collections()}:
            raise InvalidParams(f"{address!r} is indexed already", hint=f"ragmacs update {shlex.quote(address)}")
        guess = plans.guess(address, look)
        if not self.own:
            for seed in guess.source.seeds:
                kinds.check_open(seed)
        seeds = tuple(map(kinds.canonical, guess.source.seeds))
        for path in files.values():
            with suppress(SettingsError, AddressRefused):
                known = sources.read(path)
                if len(known.seeds) == 1 and tuple(map(kinds.canonical, known.seeds)) == seeds:
                    return known
        return replace(guess, source=replace(guess.source, seeds=seeds))

    def named(self, guesses: Sequence[Guess], name: str | None) -> list[Guess]:
        """GUESSES under names that no other collection has: all of them as NAME, where one is given.

        Raises InvalidParams where NAME is that of another collection.
        """
        taken = {each for each, _, _ in self.known_collections()}
        if checked_name(name) in taken:
            raise InvalidParams(f"{name!r} is the name of another collection", hint="choose another --name")
        found = []
        for each in plans.merged(guesses, name or ""):
            free = plans.free_name(each, taken)
            taken.add(free)
            found.append(replace(each, source=replace(each.source, name=free)))
        return found

    def propose(self, guess: Guess, *, allow: Sequence[str] = (), mirror: Sequence[str] = ()) -> Plan:
        """The plan for GUESS, which asks its first pages what they are; nothing is stored."""
        with self.reader(allow=allow, mirror=mirror) as reader:
            return proposal.propose(guess, reader, self.cancel)

    def crawl(self, source: Source, *, allow: Sequence[str] = (), mirror: Sequence[str] = ()) -> Report:
        """Read SOURCE into the store and publish; what a stopped crawl had read is not read again."""
        options = {"allow": list(allow), "mirror": list(mirror)}
        with self.store() as store, self.reader(allow=allow, mirror=mirror) as reader:
            report = self._read(store, reader, source, options)
            self._publish(store, reader)
            return report

    def update(
        self, names: Sequence[str] = (), *, failed: bool = False, allow: Sequence[str] = (), mirror: Sequence[str] = ()
    ) -> list[Report]:
        """Crawl collections again, all by default, each with its last options where none are given; publish once.

        With FAILED only the addresses that failed or were refused the last time are read, and nothing is dropped.
        """
        reports = []
        with self.store() as store:
            for name in names or [each for each, _, _ in store.collections()]:
                source, options = self._known(store, name, named=bool(names))
                options = {"allow": list(allow) or options["allow"], "mirror": list(mirror) or options["mirror"]}
                with self.reader(allow=options["allow"], mirror=options["mirror"]) as reader:
                    reports.append(self._read(store, reader, source, None if failed else options))
            if reports:
                with self.reader() as reader:
                    self._publish(store, reader)
        return reports

    def _known(self, store: Store, name: str, *, named: bool) -> tuple[Source, dict[str, Any]]:
        """A collection as it is to be crawled again, and the options that it was crawled with.

        One that was not NAMED is crawled as it was last, where its file is wrong: it keeps none of the others waiting.
        """
        known = store.collection(name)
        if known is None:
            raise NotIndexed(f"the collection {name!r} was never crawled", hint=self.way_to(name))
        source, options = known
        if name == sources.HANDBOOK or name in sources.files(self.settings.folders.sources):
            try:
                source = self.source(name)  # its file may have changed
            except SettingsError as exc:
                if named:
                    raise
                log.warning("%s is read as it was the last time: %s", name, exc.message)
        return source, options

    def remove(self, target: str) -> int:
        """Forget a collection or one page and publish; returns how many pages went."""
        with self.store() as store, self.reader() as reader:
            if kinds.is_address(target):
                removed = store.remove_url(kinds.canonical(target))
            elif store.collection(target):
                removed = store.remove_collection(target)
            else:
                known = ", ".join(name for name, _, _ in store.collections()) or "none"
                raise NotIndexed(f"no collection {target!r} (there are: {known})", hint="ragmacs collections")
            self._publish(store, reader)
            return removed

    def forget(self, target: str) -> tuple[int, Path | None, bool]:
        """`remove`, and the file of the collection, if nobody changed what `sources.write` wrote.

        Returns how many pages went, the file, and whether it went.
        """
        own = self.settings.folders.sources
        has_file = not kinds.is_address(target) and (own / f"{target}.toml").is_file()
        with self.store() as store:
            indexed = not has_file or store.collection(target) is not None
        removed = self.remove(target) if indexed else 0
        file, gone = sources.discard(target, own) if has_file else (None, False)
        return removed, file, gone

    def known_collections(self) -> list[tuple[str, str, str]]:
        """(name, title, licence) of every collection that has a file, is indexed, or ships with us."""
        rows = {sources.HANDBOOK: (handbook.source().title, handbook.source().licence)}
        for name, path in sources.files(self.settings.folders.sources).items():
            try:
                source = sources.read(path)
                rows[name] = (source.title, source.licence)
            except SettingsError as exc:
                rows[name] = (f"{UNREADABLE}: {exc.message}", "")
        made = self.manifest()
        for name in made.collections if made else ():
            rows.setdefault(name, ("", ""))
        return [(name, *row) for name, row in sorted(rows.items())]

    def collections(self) -> list[dict[str, Any]]:
        """What is known of each collection without opening `crawl.db`, by name: size, age, state."""
        folder, made = self.settings.folders.store, self.manifest()
        indexed, states, writing = made.collections if made else {}, roster.read(folder), bool(writer(folder))
        rows = []
        for name, title, licence in self.known_collections():
            pages, state = indexed.get(name, 0), states.get(name)
            word = roster.standing(state, pages=pages, writing=writing, old_days=self.settings.answer.old_days)
            if name == sources.HANDBOOK and not pages:
                word = "built in"
            if title.startswith(UNREADABLE):
                word = UNREADABLE
            days = roster.days_since(state.confirmed) if state else None
            row = asdict(state or roster.State(name, title)) | {"pages": pages}
            row |= {"title": title or row["title"], "licence": licence or row["licence"]}
            rows.append({**row, "age": "" if days is None else roster.age(days), "state": word})
        return rows

    def collection(self, name: str) -> dict[str, Any]:
        """The pages of a collection as readers see them, and the addresses that gave none, or none any more.

        Raises InvalidParams for one of which there is neither.
        """
        made, folder = self.manifest(), self.settings.folders.store
        indexed = name == sources.HANDBOOK or (made is not None and name in made.collections)
        pages = self.generation([name]).pages(name) if indexed else []
        receipts: list[Receipt] = []
        if (folder / CRAWL_DB).exists():
            with look(folder) as store:
                receipts = [each for each in store.receipts(name) if each.status in WITHOUT]
        if not pages and not receipts:
            raise InvalidParams(f"no pages of {name!r}", hint=self.way_to(name))
        listed = [{"url": url, "title": title, "fetched_at": at} for url, title, at in pages]
        names = ("url", "status", "reason", "at")
        without = [{name: getattr(each, name) for name in names} | {"kept": bool(each.page)} for each in receipts]
        return {"pages": listed, "without": without}

    def diff(self, name: str = "", since: str = "") -> list[Change]:
        """What changed in a collection, in all by default, since its last crawl began, or since another time.

        SINCE is as in `history.since`. Raises NotIndexed for a collection that was never read.
        """
        when, folder = history.since(since) if since else "", self.settings.folders.store
        if not (folder / CRAWL_DB).exists():
            raise NotIndexed("nothing was read yet", hint="ragmacs crawl go-gc")
        with look(folder) as store:
            known = [each for each, _, _ in store.collections()]
            if name and name not in known:
                message = f"the collection {name!r} was never read (there are: {', '.join(known) or 'none'})"
                raise NotIndexed(message, hint=self.way_to(name))
            found = {each: None for name in ([name] if name else known) for each in store.history(name, when)}
        return sorted(found, key=lambda each: each.at)

    def _read(self, store: Store, reader: Reader, source: Source, options: dict[str, Any] | None) -> Report:
        """Read SOURCE into STORE, without OPTIONS only what failed the last time; much of it is shown meanwhile."""
        before = store.count()[1] - store.grown
        growth = Growth(lambda: self._show(store, reader), before + store.grown, GROWN_CHUNKS)
        walk = pipeline.retry if options is None else partial(pipeline.crawl, options=options)
        report = walk(
            store,
            reader,
            source,
            sink=self.sink,
            cancel=self.cancel,
            grown=lambda: growth(before + store.grown),  # to count them all takes ever longer
        )
        sites = {origin(url) for url in source.seeds if url.startswith("http")}
        pipeline.drop_repeats(store, reader, sorted(sites))
        return report


def checked_name(name: str | None) -> str | None:
    """NAME, if it was given; raises InvalidParams for what cannot name a collection."""
    if name is not None and not re.fullmatch(r"\w[\w.-]{0,63}", name):
        raise InvalidParams(f"{name!r} cannot be the name of a collection", hint="letters, digits, dots and hyphens")
    return name
