"""Turn reStructuredText into the HTML that docutils makes of it, Sphinx's roles and directives read as what they say.

Nothing but the text is read: no other files, no configuration, no raw HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from docutils import ApplicationError, nodes
from docutils.core import publish_doctree, publish_from_doctree
from docutils.parsers.rst import Directive, directives, roles

_SETTINGS: Final = {
    "_disable_config": True,
    "auto_id_prefix": "id",  # as Sphinx numbers headings without a letter of ASCII
    "docinfo_xform": False,
    "doctitle_xform": False,
    "embed_stylesheet": False,
    "file_insertion_enabled": False,
    "halt_level": 5,  # never
    "initial_header_level": "1",
    "line_length_limit": 1 << 30,
    "math_output": "LaTeX",
    "output_encoding": "unicode",
    "raw_enabled": False,
    "report_level": 1,  # all messages stay in the tree: with them, what they were said about
    "sectnum_xform": False,
    "smart_quotes": False,
    "stylesheet_path": "",
    "syntax_highlight": "none",
    "toc_backlinks": False,
    "traceback": True,
    "warning_stream": False,
}
_CODE: Final = frozenset({
    "code", "code-block", "digraph", "doctest", "graph", "graphviz", "ipython", "jupyter-execute", "mermaid",
    "parsed-literal", "plantuml", "productionlist", "prompt", "sourcecode", "testcleanup", "testcode", "testoutput",
    "testsetup", "uml",
})  # fmt: skip
_NOTHING: Final = frozenset({  # what has no text of its own
    "contents", "default-role", "include", "index", "literalinclude", "meta", "raw", "sectnum", "tabularcolumns",
})  # fmt: skip
_UNSAID: Final = frozenset({  # what tells the tools, not the reader
    "currentmodule", "default-domain", "highlight", "ifconfig", "only", "py:currentmodule", "rst-class",
})  # fmt: skip
_LISTS: Final = frozenset({"autosummary", "toctree"})
_SIGNED: Final = re.compile(
    r"(?:\w+:)?(?:auto\w+|\w*(?:attribute|class|data|exception|function|macro|member|method|module|"
    r"object|property|struct|type|var)|cmdoption|describe|envvar|option)"
)
_SAID: Final = {  # as Sphinx says it
    "deprecated": "Deprecated since version", "seealso": "See also:", "todo": "To do:",
    "versionadded": "Added in version", "versionchanged": "Changed in version", "versionremoved": "Removed in version",
}  # fmt: skip
_INCLUDED: Final = re.compile(r"^[ \t]*\.\.[ \t]+(?:literal)?include::[ \t]*(\S+)", re.M)
_TITLED: Final = re.compile(r"(.+?)\s*<([^<>]*)>", re.S)  # of a role: text, target
_PROSE_ROLES: Final = frozenset(
    {"doc", "download", "guilabel", "menuselection", "numref", "ref", "rfc", "term", "abbr"}
)
_MARKS: Final = re.compile(r":[\w:+.-]+:(?=`)|(?<!\w)[`|]|(?:[`|]|(?<=\]))_{0,2}(?!\w)|(?<=\w)_(?!\w)")


def html(text: str) -> str:
    """TEXT as an HTML document; the ids of its sections are those that docutils and Sphinx give.

    Raises one of BROKEN.
    """
    with _everything_known():
        tree = publish_doctree(text, settings_overrides=_SETTINGS)
    _settle(tree)
    return str(publish_from_doctree(tree, writer="html5", settings_overrides=_SETTINGS))


# What docutils raises over text that is too strange for it, or nested deeper than Python calls.
BROKEN: Final = (
    ApplicationError, ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip


def included(text: str) -> list[str]:
    """The other files that TEXT asks to put in."""
    return list(dict.fromkeys(_INCLUDED.findall(text)))


@contextmanager
def _everything_known() -> Iterator[None]:
    """Answer for roles and directives that docutils does not know, in the way Sphinx does it: at its two look-ups."""
    find_directive, find_role = directives.directive, roles.role
    known = dict(roles._roles)  # where those that a document defines would stay for all that are read after it

    def directive(name: str, language: Any, document: Any) -> tuple[Any, list[Any]]:
        if own := _OWN.get(name.lower()):
            return own, []
        found, _ = find_directive(name, language, document)
        return found or _Other, []

    def role(name: str, language: Any, lineno: int, reporter: Any) -> tuple[Any, list[Any]]:
        found, _ = find_role(name, language, lineno, reporter)
        return found or _role, []

    directives.directive, roles.role = directive, role
    try:
        yield
    finally:
        directives.directive, roles.role = find_directive, find_role
        roles._roles.clear()
        roles._roles.update(known)


def _role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = None
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """What a role of Sphinx's is read as: the text that it shows, most often a name of code."""
    said = nodes.unescape(text).lstrip("!~")
    if titled := _TITLED.fullmatch(said):
        return [nodes.Text(titled[1])], []
    prose = name.lower().rpartition(":")[2] in _PROSE_ROLES
    return [nodes.Text(said) if prose else nodes.literal(rawtext, said)], []


class _Any:
    """The options of a directive that may have any."""

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, name: str) -> Any:
        return lambda text: text


class _Other(Directive):  # type: ignore[misc]  # docutils has no types
    """A directive is its argument, and its content."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = _Any()

    def run(self) -> list[nodes.Node]:
        name, argument = self.name.lower(), " ".join(self.arguments)
        found: list[nodes.Node] = []
        if argument and name not in _UNSAID:
            said = f"{_SAID[name]} {argument}" if name in _SAID else argument
            signed = _SIGNED.fullmatch(name) is not None
            texts, messages = ([nodes.literal(said, said)], []) if signed else self.state.inline_text(said, self.lineno)
            found += [nodes.paragraph(said, "", *texts), *messages]
        within = nodes.container()
        self.state.nested_parse(self.content, self.content_offset, within)
        return [*found, *within.children]


class _List(_Other):
    """A directive whose content is names of documents or of code, one a line."""

    def run(self) -> list[nodes.Node]:
        names = [each.strip() for each in self.content if each.strip()]
        items = (nodes.list_item("", nodes.paragraph("", _TITLED.sub(r"\1", each))) for each in names)
        return [nodes.bullet_list("", *items)] if names else []


class _Code(_Other):
    """A directive whose content is verbatim; its argument names the language."""

    def run(self) -> list[nodes.Node]:
        names = self.name.lower() in {"code", "code-block", "sourcecode"}
        language = self.arguments[0].split()[0] if self.arguments and names else ""
        text = "\n".join([*(self.arguments if not names else ()), *self.content])
        caption = str(self.options.get("caption") or "")
        made = [nodes.literal_block(text, text, classes=[f"highlight-{language}"] if language else [])] if text else []
        return [*([nodes.paragraph(caption, caption)] if caption else []), *made]


class _Nothing(_Other):
    """A directive that adds no text."""

    def run(self) -> list[nodes.Node]:
        return []


_OWN: Final[dict[str, type[Directive]]] = {
    **dict.fromkeys(_CODE, _Code),
    **dict.fromkeys(_LISTS, _List),
    **dict.fromkeys(_NOTHING, _Nothing),
}


def _settle(tree: nodes.document) -> None:
    """Leave of what docutils complains about its text alone, and one id to each section."""
    for message in list(tree.findall(nodes.system_message)):
        lost = [each for each in message.children if isinstance(each, nodes.literal_block)]
        message.parent.replace(message, lost)
    for wrong in list(tree.findall(nodes.problematic)):
        wrong.parent.replace(wrong, nodes.Text(_MARKS.sub("", wrong.astext())))
    tree.parse_messages = tree.transform_messages = []
    for code in tree.findall(nodes.literal):
        code["classes"].append("code")  # else it would be no `code` in HTML
    for section in tree.findall(nodes.section):
        section["ids"] = section["ids"][:1]
    for image in tree.findall(nodes.image):
        image.setdefault("alt", "")
        image.attributes.pop("loading", None)  # to "embed" it is to read the file it names
