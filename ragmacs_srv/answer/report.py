"""The rows of a reading list become a file to read them in: Org, Markdown, HTML that prints well, or JSON lines.

What pages say is quoted as text: nothing in it becomes a link, an image, a macro, or markup that hides or loads.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ..errors import InvalidParams
from ..render import count, printable
from ..search.database import mapped
from .batch import Row, counts
from .journal import Journal
from .themes import ORDER, Digest

MARK: Final = "ragmacs batch"
_CODE = re.compile(r"(`[^`\n]+`)")
_CODE_SHOWN: Final = "It is code, and begins so:"
_CITED = re.compile(r"\[(\d+)\]")
Format = Callable[[str, Sequence[Row], Digest], Iterator[str]]


def format_of(path: Path, name: str = "") -> str:
    """The format NAME, or what the end of PATH says; raises InvalidParams for another than ours."""
    suffixes = {"org": "org", "md": "md", "markdown": "md", "html": "html", "htm": "html", "jsonl": "jsonl"}
    wanted = (name or path.suffix.lstrip(".")).lower()
    if wanted not in suffixes:
        message = f"{wanted!r} is no format of a report" if wanted else f"{path} does not say which format it is in"
        raise InvalidParams(message, hint="--format org, md, html or jsonl, or a file name that ends so")
    return suffixes[wanted]


def report(name: str, title: str, rows: Sequence[Row], digest: Digest) -> str:
    """ROWS in the format NAME, with DIGEST on top of them, under TITLE."""
    formats: dict[str, Format] = {"org": _org, "md": _markdown, "html": _html, "jsonl": _jsonl}
    return "".join(f"{line}\n" for line in formats[name](title, rows, digest))


def check_output(path: Path, *read: Path) -> None:
    """Raise InvalidParams where PATH cannot become a report, or is one of the files READ."""
    hint = "name another file with -o"
    if path.exists() and not path.is_file():
        raise InvalidParams(f"{path} is no regular file", hint=hint)
    if not path.absolute().parent.is_dir():
        raise InvalidParams(f"there is no folder {path.absolute().parent}", hint="make it, or " + hint)
    if not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise InvalidParams(f"{path} cannot be written: no right to write in its folder", hint=hint)
    if any(path.exists() and each.exists() and path.samefile(each) for each in read):
        raise InvalidParams(f"{path} is the list itself, which the report would overwrite", hint=hint)


def save(path: Path, text: str, journal: Journal) -> str:
    """Replace PATH by TEXT, whole or not at all; returns where the old file is kept, "" if it was as we wrote it."""
    body = text.encode("utf-8", "replace")
    aside = path.with_name(path.name + ".part")
    saved = ""
    with mapped(str(path)):
        with aside.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        if path.exists() and _digest(path.read_bytes()) not in (journal.fact("report"), _digest(body)):
            saved = str(_backup(path))
            path.replace(saved)
        journal.remember("report", _digest(body))
        aside.replace(path)
    return saved


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _backup(path: Path) -> Path:
    """Where PATH, in which somebody else wrote, is kept, as Emacs names it."""
    names = (f"{path.name}.~{n}~" if n else f"{path.name}~" for n in itertools.count())
    return next(each for name in names if not (each := path.with_name(name)).exists())


def summary_line(rows: Sequence[Row]) -> str:
    """How many pages there are, how long they take, and what came of the others."""
    made = counts(rows)
    minutes = sum(row.minutes for row in rows)
    parts = [f"{count(made['done'], 'page')}, {_duration(minutes)}"]
    parts += [f"{made[state]} {state}" for state in ("failed", "refused", "pending") if made[state]]
    parts += [f"{count(made['duplicates'], 'duplicate')} folded"] if made["duplicates"] else []
    return " · ".join(parts)


def _quoted(url: str) -> str:
    """URL as it can stand between the brackets of a link."""
    return quote(url, safe="%/:=&?~#+!$,;'@()*")


def _cited(digest: Digest, text: str, link: Callable[[str, str], str]) -> str:
    """TEXT, which is marked up, with its [n] as links; those in code may be of pages that there are not."""
    known = range(1, len(digest.cited) + 1)
    return _CITED.sub(lambda n: link(digest.cited[int(n[1]) - 1].url, n[1]) if int(n[1]) in known else n[0], text)


def _duration(minutes: int) -> str:
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _line(text: str) -> str:
    return " ".join(printable(text).split())


def _code(text: str) -> list[str]:
    """The lines of the code that TEXT is between fences, as it is for a page of code; else none."""
    lines = text.split("\n")
    fenced = len(lines) > 2 and lines[0].startswith("```") and lines[-1] == lines[0]
    return [printable(line).replace("\n", " ") for line in lines[1:-1]] if fenced else []


def _facts(row: Row) -> list[str]:
    """What is said of a page under its title."""
    facts = [f"{row.minutes} min"] if row.minutes else []
    facts += [row.record.state] if row.record.state != "done" else []
    facts += ["read"] if row.entry.read else []
    return facts + [f"#{tag}" for tag in row.entry.tags]


def _reason(row: Row) -> str:
    """Why there is no summary of ROW, below its address, and what to do about it."""
    reason = row.record.reason.replace(row.entry.url, "it") if row.record.state == "failed" else row.record.reason
    return f"{reason} ({row.record.hint})" if row.record.hint else reason


def _on(digest: Digest, row: Row) -> str:
    """For which theme ROW is to be read first, to stand behind it."""
    return next((f", on {theme.name}" for theme in digest.themes if row in theme.rows), "")


# Org

# What Org would act on where it stands in text: links and macros, citations, blocks of code, links without brackets.
# `%%(` after `<`, or where a line begins, is evaluated when the agenda is made, wherever it stands, and unasked.
_ORG_ACTIVE = re.compile(
    r"\[(?=\[|fn:|cite[:/])|<(?=<|%%\()|\{(?=\{\{)|@(?=@)|"
    r"(?<=src_)(?=\w)|(?<=call_)(?=\w)|\b(?:elisp|shell|file(?:\+\w+)?|attachment|docview|help|info|man|eww)(?=:\S)",
    re.I,
)


def _org(title: str, rows: Sequence[Row], digest: Digest) -> Iterator[str]:
    yield f"#+TITLE: {_org_text(title)}"
    yield f"#+DESCRIPTION: {MARK}"
    yield "#+TODO: TODO PENDING FAILED REFUSED | DONE"
    yield "#+STARTUP: showall"
    yield ""
    yield summary_line(rows)
    yield ""
    if digest.text:
        for line in digest.text.split("\n"):
            said = _org_text(line) if line.strip() else ""
            said = re.sub(r"^[*#]+(?=\s|\+)", "-", said)
            said = re.sub(r"^(?=\s*:[^\s:]+:|&?%%\()", "\u200b", said)
            yield _cited(digest, said, _org_link)
        yield ""
    if digest.first:
        yield f"Read first ({ORDER}):"
        yield from (
            f"{n}. {_org_link(row.url, row.title)}, {row.minutes} min{_org_text(_on(digest, row))}"
            for n, row in enumerate(digest.first, 1)
        )
        yield ""
    if digest.themes:
        yield "Themes:"
        for theme in digest.themes:
            yield f"- {_org_text(theme.name)} ({len(theme.rows)}) ::"
            yield from (f"  - {_org_link(row.url, row.title)}" for row in theme.rows)
        yield ""
    yield from (f"Note: {_org_text(note)}" for note in digest.notes)
    for row in rows:
        yield from _org_row(row)


def _org_row(row: Row) -> Iterator[str]:
    state = {"done": "DONE" if row.entry.read else "TODO"}.get(row.record.state, row.record.state.upper())
    tags = dict.fromkeys(re.sub(r"[^\w@#%]", "_", tag) for tag in row.entry.tags)
    heading = _org_link(row.url, row.title) if row.record.state != "refused" else _org_text(row.title)
    yield f"* {state} {heading}" + (f" :{':'.join(tags)}:" if tags else "")
    properties = {
        "URL": row.entry.url if row.record.state == "refused" else _quoted(row.entry.url),
        "STATUS": row.record.state,
        "REASON": row.record.reason,
        "PAGE": row.record.page if row.record.page != row.entry.url else "",
        "DATE": row.record.at,
        "READING_TIME": f"{row.minutes} min" if row.minutes else "",
        "MODEL": row.record.model,
        "ALSO": " ".join(_quoted(each) for each in row.also),
        "NOTE": row.entry.note,
    }
    yield ":PROPERTIES:"
    yield from (f":{name}: {_unevaluated(_line(value))}" for name, value in properties.items() if value)
    yield ":END:"
    for text, link in row.record.points:
        code = _code(text)
        yield f"- {_org_text(_CODE_SHOWN if code else text)}" + (f" {_org_link(link, '↗')}" if link else "")
        yield from _org_block(code)
    if row.record.state != "done":
        yield f"- {_org_text(_reason(row))}"
    yield from (f"- Note: {_org_text(note)}" for note in row.record.notes)


def _org_block(lines: Sequence[str]) -> Iterator[str]:
    """LINES of code below an item, none of which ends the block or begins a heading."""
    if lines:
        yield "  #+begin_example"
        yield from (re.sub(r"^(\s*)(?=,*[*#])", r"\1,", f"  {_unevaluated(line)}") for line in lines)
        yield "  #+end_example"


def _org_text(text: str) -> str:
    """TEXT as one line that Org takes for nothing else; code as verbatim."""
    parts = _CODE.split(_line(text))
    return "".join(_org_code(part[1:-1]) if n % 2 else _org_quiet(part) for n, part in enumerate(parts))


def _org_quiet(text: str) -> str:
    return _ORG_ACTIVE.sub(lambda found: f"{found[0]}\u200b", text)


def _unevaluated(text: str) -> str:
    return text.replace("<%%(", "<\u200b%%(")


def _org_code(code: str) -> str:
    """CODE between the marks of verbatim text that it does not hold."""
    mark = next((mark for mark in "=~" if mark not in code), "")
    return f"{mark}{_org_quiet(code)}{mark}" if mark and code == code.strip() else _org_quiet(code)


def _org_link(url: str, text: str) -> str:
    said = _org_quiet(_line(text)).replace("[", "{").replace("]", "}")[:300] or url
    return f"[[{_quoted(url)}][{said}]]"


# Markdown


def _markdown(title: str, rows: Sequence[Row], digest: Digest) -> Iterator[str]:
    yield f"<!-- {MARK} -->"
    yield f"# {_md_text(title)}"
    yield ""
    yield summary_line(rows)
    yield ""
    if digest.text:
        for line in digest.text.split("\n"):
            said = re.sub(r"\\\[(\d+)\\\]", r"[\1]", _md_text(line, bullets=False))
            yield _cited(digest, said, _md_link)
        yield ""
    if digest.first:
        yield f"**Read first** ({ORDER}):"
        yield ""
        yield from (
            f"{n}. {_md_link(row.url, row.title)}, {row.minutes} min{_md_text(_on(digest, row), bullets=False)}"
            for n, row in enumerate(digest.first, 1)
        )
        yield ""
    if digest.themes:
        yield "**Themes:**"
        yield ""
        for theme in digest.themes:
            links = ", ".join(_md_link(row.url, row.title) for row in theme.rows)
            yield f"- **{_md_text(theme.name)}** ({len(theme.rows)}): {links}"
        yield ""
    yield from (f"Note: {_md_text(note)}\n" for note in digest.notes)
    for row in rows:
        yield f"## {_md_link(row.url, row.title) if row.record.state != 'refused' else _md_text(row.title)}"
        yield ""
        if facts := _facts(row):
            yield " · ".join(map(_md_text, facts)) + "\n"
        for text, link in row.record.points:
            code = _code(text)
            yield f"- {_md_text(_CODE_SHOWN if code else text)} " + (f"[↗](<{_quoted(link)}>)" if link else "")
            yield from ("\n", *(f"      {line}" for line in code), "") if code else ()
        if row.record.state != "done":
            yield f"- {_md_text(_reason(row))}"
        yield from (f"- Note: {_md_text(note)}" for note in row.record.notes)
        yield f"- Listed also as: {', '.join(f'<{_quoted(each)}>' for each in row.also)}" if row.also else ""
        yield ""


def _md_text(text: str, *, bullets: bool = True) -> str:
    """TEXT as one line of plain text; code stays code."""
    parts = _CODE.split(_line(text))
    made = "".join(
        part if n % 2 else re.sub(r"([\\\[\]*_])", r"\\\1", part.replace("&", "&amp;").replace("<", "&lt;"))
        for n, part in enumerate(parts)
    )
    return re.sub(r"^(#+|[-+>]|\d+[.)])(?=\s|$)", r"\\\1", made) if bullets else made


def _md_link(url: str, text: str) -> str:
    return f"[{_md_text(text.replace('`', ''))}](<{_quoted(url)}>)"


# HTML

_STYLE = """
body { font: 16px/1.5 Georgia, "Times New Roman", serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem;
  color: #1a1a1a; background: #fff; overflow-wrap: break-word }
h1 { font-size: 1.7rem; line-height: 1.2; margin-bottom: .3rem }
h2 { font-size: 1.15rem; line-height: 1.3; margin: 0 0 .2rem }
article { margin: 1.6rem 0; padding-top: 1rem; border-top: 1px solid #ddd }
.facts, .also, .note { color: #666; font-size: .875rem; margin: .2rem 0 }
.failed h2, .refused h2, .pending h2 { color: #777 } .reason { color: #a33 }
section.digest { background: #f6f5f1; padding: .5rem 1.2rem; border-radius: 4px }
ul, ol { padding-left: 1.3rem; margin: .4rem 0 } li { margin: .25rem 0 }
a { color: #15457a; text-decoration: none } a:hover { text-decoration: underline }
pre { font: .85em/1.4 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; white-space: pre-wrap }
code { font: .88em/1.4 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; background: #f1f0ec; padding: 0 .2em }
@media print { body { font-size: 10.5pt; max-width: none; margin: 0 } a { color: inherit }
  h2 a::after { content: " <" attr(href) ">"; font-weight: normal; font-size: .75em; color: #555 }
  article { break-inside: avoid }
  section.digest { background: none; border: 1px solid #ccc } h2 { break-after: avoid } }
"""


def _html(title: str, rows: Sequence[Row], digest: Digest) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html><head><meta charset="utf-8">'
    yield f'<meta name="generator" content="{MARK}">'
    yield """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"""
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{_html_text(title)}</title><style>{_STYLE}</style></head><body>"
    yield f'<h1>{_html_text(title)}</h1><p class="facts">{_html_text(summary_line(rows))}</p>'
    if digest.text or digest.first or digest.themes or digest.notes:
        yield '<section class="digest">'
        yield from _html_digest(digest)
        yield "</section>"
    for row in rows:
        yield from _html_row(row)
    yield "</body></html>"


def _html_digest(digest: Digest) -> Iterator[str]:
    for line in filter(str.strip, digest.text.split("\n")):
        yield f"<p>{_cited(digest, _html_text(line), _html_link)}</p>"
    if digest.first:
        yield f'<p><strong>Read first</strong> <span class="facts">({ORDER})</span></p><ol>'
        yield from (
            f"<li>{_html_link(row.url, row.title)} "
            f'<span class="facts">{row.minutes} min{_html_text(_on(digest, row))}</span></li>'
            for row in digest.first
        )
        yield "</ol>"
    if digest.themes:
        yield "<p><strong>Themes</strong></p><ul>"
        for theme in digest.themes:
            links = "; ".join(_html_link(row.url, row.title) for row in theme.rows)
            yield f"<li><strong>{_html_text(theme.name)}</strong> ({len(theme.rows)}): {links}</li>"
        yield "</ul>"
    yield from (f'<p class="note">Note: {_html_text(note)}</p>' for note in digest.notes)


def _html_row(row: Row) -> Iterator[str]:
    refused = row.record.state == "refused"
    yield f'<article class="{row.record.state}">'
    yield f"<h2>{_html_text(row.title) if refused else _html_link(row.url, row.title)}</h2>"
    if facts := _facts(row):
        yield f'<p class="facts">{_html_text(" · ".join(facts))}</p>'
    if row.record.points:
        yield "<ul>"
        for text, link in row.record.points:
            code = "\n".join(_code(text))
            said = f"<pre>{escape(code)}</pre>" if code else _html_text(text)
            yield f"<li>{said} {_html_link(link, '↗') if link else ''}</li>"
        yield "</ul>"
    if row.record.state != "done":
        yield f'<p class="reason">{_html_text(_reason(row))}</p>'
    yield from (f'<p class="note">Note: {_html_text(note)}</p>' for note in row.record.notes)
    if row.also:
        yield f'<p class="also">Listed also as: {_html_text(", ".join(row.also))}</p>'
    yield "</article>"


def _html_text(text: str) -> str:
    parts = _CODE.split(_line(text))
    return "".join(f"<code>{escape(part[1:-1])}</code>" if n % 2 else escape(part) for n, part in enumerate(parts))


def _html_link(url: str, text: str) -> str:
    web = url.startswith(("http://", "https://", "handbook:"))
    return f'<a href="{escape(url)}">{_html_text(text)}</a>' if web else _html_text(text)


# JSON lines


def _jsonl(title: str, rows: Iterable[Row], digest: Digest) -> Iterator[str]:
    """A line for each address, and nothing else: the digest is what `--json` prints."""
    return (json.dumps(row.as_json(), ensure_ascii=False) for row in rows)
