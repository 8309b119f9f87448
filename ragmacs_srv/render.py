"""Replies in their JSON shape become the lines of a terminal; it imports nothing, so that short commands stay short."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# Control characters but for line ends and tabs, and those that change the direction of text: a terminal obeys them.
_OBEYED = ((0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2066, 0x2069))
_REMOVED = dict.fromkeys(code for first, last in _OBEYED for code in range(first, last + 1))


def printable(text: str) -> str:
    """TEXT without what a terminal would obey: servers and pages have a say in it."""
    return text.translate(_REMOVED)


def dumps(value: object, indent: int | None = 1) -> str:
    """VALUE as JSON; what a terminal would obey is escaped, so that nothing of it is lost."""
    import json

    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return text.translate({code: f"\\u{code:04x}" for code in _REMOVED if code > 0x7E})


def results(found: Mapping[str, Any]) -> str:
    """What a search found: three lines for each section."""
    lines = (
        f"{n}. {' > '.join(each['heading'])}{_paper(each['link'])}\n   {each['link']}\n   {_snippet(each['text'])}"
        for n, each in enumerate(found["results"], 1)
    )
    return "\n".join(lines) or "nothing found"


def result_notes(found: Mapping[str, Any]) -> list[str]:
    """What should be known of a search beside its results."""
    lexical = "lexical search only: " if found["mode"] == "lexical" else ""
    told = [f"note: {lexical}{found['reason']}"] * bool(found["reason"]) + [f"note: {each}" for each in found["notes"]]
    return told + _sites(found.get("facets", {}).get("site", {}))


def citations(answer: Mapping[str, Any]) -> str:
    """What follows the text of an answer: where its quotes can be opened, a line each."""
    lines = map(_citation, answer["citations"])
    return "\n\n" + "\n".join(lines) if answer["citations"] else ""


def answer_notes(answer: Mapping[str, Any]) -> list[str]:
    """What should be known of an answer beside its text."""
    model = f", {answer['model']}" if answer["model"] else ""
    notes = [f"note: {each}" for each in answer["notes"]]
    return [*notes, f"({answer['mode']}, confidence {answer['confidence']:.2f}{model})"]


def status(state: Mapping[str, Any]) -> str:
    """Which server runs, what is indexed, and who is writing."""
    index = state["index"]
    lines = [
        *([f"server      {_server(state['server'])}"] if state["server"] else []),
        f"store       {index['store']}",
        f"generation  {index['generation'] or 'none yet: questions are answered from the handbook'}",
        f"pages       {index['pages']}",
        f"chunks      {index['chunks']}",
        f"vectors     {_vectors(index)}{_how_dense(index['dense'])}",
        *(f"            {name}: {count(pages, 'page')}" for name, pages in index["collections"].items()),
        *([f"writing     pid {index['writer']}"] if index["writer"] else []),
    ]
    return "\n".join(lines)


def failure(code: int, message: str, hint: str, *, as_json: bool) -> str:
    """What went wrong and what to do about it, as one JSON object or for people."""
    if as_json:
        return dumps({"error": {"code": code, "message": message, "hint": hint}}, indent=None)
    return printable(f"ragmacs: {message}" + (f"\nhint: {hint}" if hint else ""))


def count(n: int, noun: str) -> str:
    """N and its NOUN: 1 page, 2,000 pages."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def size(of: int) -> str:
    """OF bytes: 900 B, 1.2 MB."""
    for unit, least in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if of >= least:
            return f"{of / least:.1f} {unit}" if of < 100 * least else f"{of // least} {unit}"
    return f"{of} B"


def _sites(found: Mapping[str, int]) -> list[str]:
    """A line that says which of several sites have something, and how to look at one of them."""
    named = [f"{site} ({n})" for site, n in found.items()]
    more = f" and {len(named) - 5} more" * (len(named) > 5)
    line = f"sites with sections: {', '.join(named[:5])}{more}; add site:{next(iter(found), '')} to see one alone"
    return [line] if len(named) > 1 else []


def _snippet(text: str, width: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def _citation(citation: Mapping[str, Any]) -> str:
    heading = citation["heading"][-1] if citation["heading"] else citation["title"]
    name = heading if heading == citation["title"] else f"{citation['title']}, {heading}"
    origin = f" (read from {citation['fetched_from']})" if citation.get("fetched_from") else ""
    return f"[{citation['n']}] {name}{_paper(citation['link'])} <{citation['link']}>{origin}"


def _paper(link: str) -> str:
    """Which page of a PDF LINK opens, behind its title; "" elsewhere: sections of one PDF are often titled alike."""
    number = link.rpartition("#page=")[2]
    return f", page {number}" if number != link and number.isdecimal() else ""


def _server(server: Mapping[str, Any]) -> str:
    memory = f", {server['rss_anon_mb']:.0f} MB" if server["rss_anon_mb"] else ""
    return f"pid {server['pid']}, up {server['uptime_s']:.0f} s{memory}"


def _vectors(index: Mapping[str, Any]) -> str:
    if index["vectors"] >= index["chunks"]:
        return index["model"] or "none"
    return f"{index['model']}: {index['vectors']:,} of {count(index['chunks'], 'chunk')}" if index["model"] else "none"


def _how_dense(built: Mapping[str, Any]) -> str:
    """How the vectors are searched, when not one by one."""
    lists = f", {built['nprobe']} of {built['nlist']} lists" if built.get("nlist") else ""
    exact = built.get("kind", "Flat") == "Flat"
    return "" if exact else f" ({built['kind']}{lists}, recall {built['recall']:.3f})"
