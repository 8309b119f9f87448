"""What is meant by an address becomes a plan that can be agreed to: by asking once what is there, storing nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

from .errors import AddressRefused, FetchError, InvalidParams, NoContent, RagmacsError, RobotsDenied
from .events import Cancel
from .ingest import kinds, plans, sitemaps, walls
from .ingest.plans import Guess
from .ingest.sources import in_scope
from .ingest.urls import origin
from .model import Page, Source
from .pipeline import Reader
from .render import count

PROBES = 3  # pages asked for before anybody agreed
BATCH = {"stackexchange": 100}  # what one request for a list brings, of the few that one has each day
LISTINGS = ("sitemap.xml", "llms.txt")  # where a site may list its pages


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be read: SOURCE, and what of it (`scope`) in words.

    `documents` is how many there are as far as could be told at once, None where only reading tells; `whole` is
    False where there are more. `found` says what is at the address, `troubles` why a seed will not be read.
    """

    source: Source
    scope: str
    notes: tuple[str, ...] = ()
    found: str = ""
    documents: int | None = None
    whole: bool = True
    troubles: tuple[tuple[str, RagmacsError], ...] = ()


def propose(guess: Guess, reader: Reader, cancel: Cancel) -> Plan:
    """The plan for GUESS: its own documents are counted, of pages on the web the first few are asked for.

    Raises what reading raises where not one of its addresses can be read.
    """
    plan = Plan(guess.source, guess.scope, guess.notes)
    for n, seed in enumerate(guess.source.seeds):
        cancel.check()
        try:
            if _is_page(seed):
                plan = _with_page(plan, guess, seed, reader, cancel) if n < PROBES else plan
            else:
                plan = _with_listed(plan, seed, reader, cancel)
        except (AddressRefused, FetchError, NoContent, RobotsDenied) as exc:
            plan = replace(plan, troubles=(*plan.troubles, (seed, exc)))
    if len(plan.troubles) == len(guess.source.seeds):
        raise plan.troubles[0][1]
    return _listed_by_itself(plan, reader, cancel) if guess.site else plan


def _is_page(seed: str) -> bool:
    return seed.startswith("http") and not sitemaps.is_list(seed)


def _with_page(plan: Plan, guess: Guess, seed: str, reader: Reader, cancel: Cancel) -> Plan:
    """PLAN with what the page at SEED says; where it leads elsewhere, that is what is meant."""
    page = _page(seed, reader, cancel)
    if page.url != seed and len(guess.source.seeds) == 1 and not guess.fixed:
        plan = _moved(plan, page.url)
    source = plan.source
    if source.depth == 0:
        title = page.title if len(source.seeds) == 1 and page.title else source.title
        return replace(plan, source=replace(source, title=title), documents=(plan.documents or 0) + 1)
    links = {link for link in page.links if link != page.url and not in_scope(source, link)}
    return replace(plan, found=f"{page.title!r} is there; {count(len(links), 'link')} on it in scope")


def _page(seed: str, reader: Reader, cancel: Cancel) -> Page:
    page = reader.extractor.extract(reader.read(kinds.canonical(seed), cancel), cancel=cancel)
    walls.check(seed, page)
    return page


def _moved(plan: Plan, url: str) -> Plan:
    """PLAN for URL, where its address leads; how far it goes stays."""
    with suppress(InvalidParams):
        there, source = plans.guess(url).source, plan.source
        source = replace(source, seeds=there.seeds, allow=there.allow if source.depth else (), title=there.title)
        return replace(plan, source=source, scope=plans.described(source), notes=(f"the address leads to {url}",))
    return plan


def _with_listed(plan: Plan, seed: str, reader: Reader, cancel: Cancel) -> Plan:
    """PLAN with the documents that SEED stands for counted, as far as they would be read and one request tells."""
    batch = BATCH.get(kinds.scheme_of(seed), 0)
    outside: list[str] = []
    most = batch or plan.source.max_pages + 1
    listed = list(islice(_pages(plan.source, seed, reader, cancel, outside), most))
    if outside and not listed and sitemaps.is_list(seed):
        raise NoContent(
            f"none of the pages that {seed} lists is in its folder: the first is {outside[0]}",
            hint=f"ragmacs add {origin(outside[0])}/; a collection file with allow reads what stands elsewhere",
        )
    if listed == [seed]:
        reader.read(seed, cancel)  # only a list says that what is on it is there
    if seed.startswith("file:") and any(each.endswith((".html", ".htm")) for each in listed):
        saved = "saved" + seed.removeprefix("file")
        note = f"pages saved from the web are cited where they came from with: ragmacs add {saved}"
        plan = replace(plan, notes=(*plan.notes, note))
    if batch and len(listed) == batch:
        return replace(plan, found=f"{batch} documents or more")
    known = (plan.documents or 0) + len(listed)
    return replace(
        plan, documents=min(known, plan.source.max_pages), whole=plan.whole and known <= plan.source.max_pages
    )


def _listed_by_itself(plan: Plan, reader: Reader, cancel: Cancel) -> Plan:
    """PLAN for the list of its pages that the site has, where it has one; else PLAN."""
    site = origin(plan.source.seeds[0])
    for name in LISTINGS:
        seed = f"{site}/{name}"
        source = replace(plan.source, seeds=(seed,), depth=0)
        with suppress(AddressRefused, FetchError, NoContent, RobotsDenied):
            listed = _with_listed(replace(plan, source=source), seed, reader, cancel)
            if listed.documents and (listed.documents > 1 or not listed.whole):
                return replace(listed, scope=f"the pages of the site that {seed} lists")
    return plan


def _pages(source: Source, seed: str, reader: Reader, cancel: Cancel, outside: list[str]) -> Iterator[str]:
    """Of what SEED stands for, what SOURCE wants; the rest of what is met goes into OUTSIDE."""
    found = kinds.of(seed).pages(seed, reader.means, cancel)
    for each in found:
        if in_scope(source, each):
            outside.append(each)
        else:
            yield each
