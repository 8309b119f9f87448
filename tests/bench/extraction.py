"""Measure what extraction keeps and lets through on the saved pages; exit 1 when a bound is missed.

    python tests/bench/extraction.py [--site DIR] [--baseline] [--missing]

The truth is made here, by rules of its own and without the code it judges: the single `article` of a page,
else its `main`, minus footer, cookie notice, breadcrumb, byline, previous/next lines and controls. It is read
twice: as the page is ("marked"), and with every mark of the content element erased ("unmarked": `main` and
`article` become `div`, role, class and id go from whatever holds the content). The second is the fairer
figure for sites we do not know; recall on the first is near to a tautology.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trafilatura
from lxml import etree
from lxml.html import HtmlElement, HTMLParser, document_fromstring, tostring

from ragmacs_srv.errors import NoContent
from ragmacs_srv.ingest.extract import extract
from ragmacs_srv.ingest.sections import block_texts, repeated, without
from ragmacs_srv.model import Page

SITE = Path(__file__).resolve().parents[3] / "shared" / "site"
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
NOT_PROSE = (
    "script",
    "style",
    "svg",
    "nav",
    "aside",
    "noscript",
    "button",
    "input",
    "select",
    "textarea",
    "iframe",
    "template",
)
SURROUNDINGS = (
    ".//footer",
    ".//*[contains(@class, 'Cookie-notice')]",
    ".//*[contains(@class, 'readcrumb')]",
    ".//p[@class='author']",
    ".//div[contains(@class, 'prevnext')]",
    ".//p[b[starts-with(., 'Next article') or starts-with(., 'Previous article')] or normalize-space(.)='Blog Index']",
    ".//h1[@class='small']",
    ".//a[contains(@class, 'headerlink') or contains(@class, 'md-content__button') or contains(@class, 'footnote')]",
    ".//*[@hidden]",
    ".//label[not(ancestor::*[contains(@class, 'tabbed-labels')])]",
)
APART = frozenset({
    "p", "div", "li", "td", "th", "tr", "dt", "dd", "br", "code", "kbd", "samp", "tt", "sup", "q", "figcaption",
    "figure", "section", "summary", "details", "table", "ul", "ol", "dl", "blockquote", "caption", "hr", "main",
    "article", "img", "label", *HEADINGS,
})  # fmt: skip


@dataclass
class Truth:
    """What one page is made of, found without the extractor."""

    url: str
    body: bytes
    anchors: list[str]
    codes: list[str]
    prose: Counter[str]
    around: set[str]  # lines of menus, footers and notices
    unmarked: bytes


@dataclass
class Score:
    """What came out of all pages, against what is there."""

    anchors: int = 0
    all_anchors: int = 0
    codes: int = 0
    all_codes: int = 0
    found: int = 0
    wanted: int = 0
    leaked: int = 0
    written: int = 0
    seconds: float = 0.0
    dropped: list[str] = field(default_factory=list)
    around: list[str] = field(default_factory=list)
    worst: list[tuple[float, str, Counter[str]]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def recall(self) -> float:
        return self.found / self.wanted

    @property
    def leaks(self) -> float:
        return self.leaked / max(1, self.written)


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--site", type=Path, default=SITE, help="folder with pages/ (default: %(default)s)")
    options.add_argument("--baseline", action="store_true", help="also measure trafilatura by itself")
    options.add_argument("--missing", action="store_true", help="print the words that each page misses")
    chosen = options.parse_args()
    truths = load(chosen.site)
    if not truths:
        print(f"no pages under {chosen.site / 'pages'}", file=sys.stderr)
        return 1
    marked, pages = measure(truths, unmarked=False)
    unmarked, guessed = measure(truths, unmarked=True)
    show("marked", marked, len(truths), missing=chosen.missing)
    show("unmarked", unmarked, len(truths), missing=chosen.missing)
    show("unmarked, repeats removed", filtered(truths, guessed), len(truths), missing=False)
    print(
        f"content element found by its mark on {sum(page.marked for page in pages.values())} pages, "
        f"on {sum(page.marked for page in guessed.values())} unmarked ones"
    )
    if chosen.baseline:
        baseline(truths)
    failures = [*bounds(marked, unmarked)]
    print("\n".join(f"MISSED: {failure}" for failure in failures) or "all bounds hold")
    return 1 if failures else 0


def bounds(marked: Score, unmarked: Score) -> Iterator[str]:
    """The acceptance bounds that are not met, one sentence each."""
    for name, score in (("marked", marked), ("unmarked", unmarked)):
        if score.dropped:
            yield f"{name}: pages dropped: {' '.join(score.dropped)}"
    if marked.anchors < marked.all_anchors:
        yield f"anchors {marked.anchors} of {marked.all_anchors}"
    if marked.codes < marked.all_codes:
        yield f"code blocks {marked.codes} of {marked.all_codes}"
    if marked.recall < 0.995:
        yield f"prose {marked.recall:.4f} < .995"
    if marked.worst[0][0] < 0.98:
        yield f"prose of {marked.worst[0][1]}: {marked.worst[0][0]:.3f} < .98"
    if marked.leaks > 0.01:
        yield f"leaked words {marked.leaks:.4f} > .01"
    if marked.around:
        yield f"lines of menus and footers: {marked.around[:5]}"
    if unmarked.recall < 0.99:
        yield f"unmarked prose {unmarked.recall:.4f} < .99"


def load(site: Path) -> list[Truth]:
    root = site / "pages"
    return [
        truth(f"https://site.test/{file.relative_to(root)}", file.read_bytes()) for file in sorted(root.rglob("*.html"))
    ]


def truth(url: str, body: bytes) -> Truth:
    tree = parse(body)
    articles = tree.findall(".//article")
    content = articles[0] if len(articles) == 1 else tree.find(".//main")
    assert content is not None, url
    unmarked = erase_marks(body)
    around = {line for path in SURROUNDINGS for element in content.xpath(path) for line in lines(element)}
    around |= {line for element in tree.xpath("//footer | //header | //nav") for line in lines(element)}
    for path in SURROUNDINGS:
        for element in content.xpath(path):
            element.drop_tree()
    for element in list(content.iter(*NOT_PROSE)):
        element.drop_tree()
    anchors = [heading.get("id") for heading in content.iter(*HEADINGS) if heading.get("id")]
    codes = [pre.text_content() for pre in content.iter("pre")]
    for pre in list(content.iter("pre")):
        pre.drop_tree()
    around -= set(lines(content))
    return Truth(url, body, anchors, codes, Counter(words(spaced(content))), around, unmarked)


def erase_marks(body: bytes) -> bytes:
    """BODY without any sign of which element is the content: tag, role, class, id of all that hold half of it."""
    tree = parse(body)
    articles = tree.findall(".//article")
    content = articles[0] if len(articles) == 1 else tree.find(".//main")
    assert content is not None
    half = len(content.text_content()) / 2
    for element in [*tree.iter("main", "article", "section", "div")]:
        if element.tag in ("main", "article"):
            element.tag = "div"
            element.attrib.pop("role", None)
        if element is content or len(element.text_content()) > half:
            for mark in ("class", "id", "role"):
                element.attrib.pop(mark, None)
    return bytes(tostring(tree, encoding="utf-8"))


def measure(truths: Iterable[Truth], *, unmarked: bool) -> tuple[Score, dict[str, Page]]:
    score, pages = Score(), {}
    for one in truths:
        begun = time.process_time()
        try:
            page = extract(one.unmarked if unmarked else one.body, one.url, charset="utf-8")
        except NoContent:
            score.dropped.append(one.url)
            continue
        score.seconds += time.process_time() - begun
        pages[one.url] = page
        judge(score, one, page)
    score.worst.sort(key=lambda entry: entry[0])
    return score, pages


def judge(score: Score, one: Truth, page: Page) -> None:
    text = "\n".join(section.text for section in page.sections)
    anchors = {section.anchor for section in page.sections}
    score.lost += [f"{one.url}#{anchor}" for anchor in one.anchors if anchor not in anchors]
    score.anchors += sum(anchor in anchors for anchor in one.anchors)
    score.all_anchors += len(one.anchors)
    missing_codes = [code for code in one.codes if code not in text]
    score.lost += [f"{one.url} pre {code[:60]!r}" for code in missing_codes]
    score.codes += len(one.codes) - len(missing_codes)
    score.all_codes += len(one.codes)
    prose = Counter(words("\n".join(prose_of(page))))
    missing = one.prose - prose
    score.found += one.prose.total() - missing.total()
    score.wanted += one.prose.total()
    score.leaked += (prose - one.prose).total()
    score.written += prose.total() + sum(len(words(code)) for code in one.codes)
    score.around += [f"{one.url}: {line}" for line in output_lines(page) if line in one.around]
    score.worst.append((1 - missing.total() / max(1, one.prose.total()), one.url, missing))


def filtered(truths: Iterable[Truth], pages: dict[str, Page]) -> Score:
    """The unmarked pages after the crawl-wide filter, as a crawl of each of the three sites would apply it."""
    score = Score()
    sites: dict[str, list[Page]] = {}
    for page in pages.values():
        sites.setdefault(site_of(page.url), []).append(page)
    noise = {name: repeated([block_texts(page) for page in found]) for name, found in sites.items()}
    for one in truths:
        if one.url in pages:
            page = pages[one.url]
            kept = tuple(without(section, noise[site_of(one.url)]) for section in page.sections)
            judge(score, one, Page(page.url, page.title, kept))
    score.worst.sort(key=lambda entry: entry[0])
    return score


def site_of(url: str) -> str:
    folder = url.split("/")[3]
    return folder if folder in ("gptel", "headscale") else "go"


def prose_of(page: Page) -> Iterator[str]:
    """Headings and blocks, but no code and no alternative texts of images (kept on purpose, and told apart)."""
    yield page.title
    for section in page.sections:
        if section.anchor and len(section.heading) > 1:
            yield section.heading[-1]
        for block in section.blocks:
            if block.kind not in ("code", "image"):
                yield section.text[block.start : block.end]


def output_lines(page: Page) -> Iterator[str]:
    for section in page.sections:
        for block in section.blocks:
            if block.kind != "code":
                yield " ".join(section.text[block.start : block.end].lstrip("->#: ").split())


def lines(element: HtmlElement) -> list[str]:
    """The texts of the innermost blocks of ELEMENT, three words or more: shorter ones stand anywhere."""
    texts = (" ".join(part.split()) for part in spaced(element).split("\n"))
    return [text for text in texts if len(text.split()) >= 3]


def spaced(element: HtmlElement) -> str:
    """The text of ELEMENT, with a newline where a block, or inline code, begins or ends."""
    parts: list[str] = []
    for event, node in etree.iterwalk(element, events=("start", "end")):
        edge = "\n" if node.tag in APART else ""
        text = node.text if event == "start" else node.tail if node is not element else ""
        parts += (edge, text or "")
    return "".join(parts)


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def parse(body: bytes) -> HtmlElement:
    parser = HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    return document_fromstring(body, parser=parser)


def show(name: str, score: Score, pages: int, *, missing: bool) -> None:
    short = sum(share < 0.98 for share, _, _ in score.worst)
    time_used = f", {1000 * score.seconds / pages:.1f} ms CPU a page" if score.seconds else ""
    print(
        f"{name}: anchors {score.anchors}/{score.all_anchors}, code {score.codes}/{score.all_codes}, "
        f"prose {score.recall:.4f} (worst {score.worst[0][0]:.3f}, {short} pages < .98), "
        f"leaked {score.leaks:.4f}, lines of menus {len(score.around)}, dropped {len(score.dropped)}{time_used}"
    )
    for share, url, lost in score.worst:
        if share < 0.98 or (missing and lost):
            print(f"  {share:.3f} {url}: {' '.join(f'{word}*{n}' for word, n in lost.most_common(25))}")
    for what in (*score.lost[:10], *score.around[:10]):
        print(f"  {what}")


def baseline(truths: Iterable[Truth]) -> None:
    """trafilatura's own Markdown on the same pages."""
    logging.disable()
    found = wanted = codes = all_codes = 0
    for one in truths:
        text = trafilatura.extract(one.body, output_format="markdown", fast=True, include_comments=False) or ""
        missing = one.prose - Counter(words(text))
        found += one.prose.total() - missing.total()
        wanted += one.prose.total()
        codes += sum(code in text for code in one.codes)
        all_codes += len(one.codes)
    print(f"trafilatura alone: anchors 0, code {codes}/{all_codes}, prose {found / wanted:.4f}")


if __name__ == "__main__":
    sys.exit(main())
