"""A width, a height and a title become an empty SVG document, in colours that all pictures of Go code share."""

from __future__ import annotations

from typing import Final, Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from ..errors import InvalidParams

Theme = Literal["auto", "light", "dark"]

CHARACTER: Final = 7.25  # pixels, of the monospaced 12 px
# Of Okabe and Ito, who chose them for all kinds of colour vision.
LIGHT: Final = {"ground": "#ffffff", "ink": "#1b1f24", "faint": "#6b7280", "line": "#c026a3"}
DARK: Final = {"ground": "#16191d", "ink": "#e8eaed", "faint": "#9aa3ad", "line": "#f472d0"}
BLUE, SKY, ORANGE = "#0072b2", "#7cc4ec", "#e69f00"


def theme(name: str) -> Theme:
    """NAME, if it is a theme; raises InvalidParams."""
    for each in ("auto", "light", "dark"):
        if name == each:
            return each
    raise InvalidParams(f"there is no theme {name!r}", hint="auto, light or dark")


def blank(width: float, height: float, title: str, theme: Theme, rules: str = "") -> Element:
    """An empty picture of WIDTH by HEIGHT pixels; RULES are further lines of its style sheet.

    Classes are `ground`, `name`, `title`, `faint`, `end`, `ruler`. `auto` follows the reader's preference where the
    viewer tells it; Emacs does not.
    """
    root = Element("svg", xmlns="http://www.w3.org/2000/svg", width=px(width), height=px(height), role="img")
    root.set("viewBox", f"0 0 {px(width)} {px(height)}")
    SubElement(root, "title").text = title
    SubElement(root, "style").text = f"{_style(theme)} {rules}".rstrip()
    SubElement(root, "rect", width="100%", height="100%", attrib={"class": "ground"})
    return root


def written(root: Element) -> str:
    """The document ROOT as text."""
    ElementTree.indent(root, " ")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def write(parent: Element, x: float, y: float, text: str, kind: str) -> None:
    """Add TEXT of the classes KIND at X and Y."""
    # What XML cannot hold cannot be in an identifier of Go, but a path may have it.
    clean = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    SubElement(parent, "text", x=px(x), y=px(y), attrib={"class": kind}).text = clean


def px(value: float) -> str:
    """VALUE as a coordinate."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _style(theme: Theme) -> str:
    colours = _colours(DARK if theme == "dark" else LIGHT)
    dark = f" @media (prefers-color-scheme: dark) {{ {_colours(DARK)} }}" if theme == "auto" else ""
    fixed = (
        "text { font: 12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; white-space: pre }"
        " .title { font-size: 15px; font-weight: bold } .end { text-anchor: end }"
        " .ruler { stroke-width: 1.4; stroke-dasharray: 4 2 }"
    )
    return f"{fixed} {colours}{dark}"


def _colours(of: dict[str, str]) -> str:
    return (
        f".ground {{ fill: {of['ground']} }} .name, .title {{ fill: {of['ink']} }} .faint {{ fill: {of['faint']} }}"
        f" .axis {{ fill: none; stroke: {of['faint']}; stroke-width: 1.2 }} .ruler {{ stroke: {of['line']} }}"
    )
