"""Text becomes the terms that lexical search compares: words lightly stemmed, identifiers whole and in parts.

`debug.SetGCPercent` gives `debug setgcpercent set gc percent debug.setgcpercent`. The same function reads
pages and questions, so both sides agree. Terms hold no spaces and no quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

WORD = re.compile(r"\w+")
# debug.SetGCPercent, runtime/metrics, 1.25, pkg:version; possessive, so that a line without a blank takes linear time
COMPOUND = re.compile(r"\b\w++(?:[./:]\w++)+")
CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
RELEASE = re.compile(r"go(\d+(?:\.\d+)+)")
SPOKEN_RELEASE = re.compile(r"\bgo ?(\d+\.\d+)", re.IGNORECASE)

# Words that say how a question is asked, not what it is about.
STOP = frozenset(
    """a about after all also am an and any are as at be because been before being both but by can could did do does
    doing don done down each few for from further had has have having he her here hers him his how i if in into is it
    its itself just let like ll me more most my myself need no nor not now of off on once one only or other our out
    over own please re s same she should so some such t than that the their them then there these they this those
    through to too under until up use used using ve very want was way we were what when where which while who whom
    why will with would you your yours""".split()  # noqa: SIM905 - a list of words reads better as words
)


def terms(text: str) -> list[str]:
    """Every term of TEXT, stop words left out; whole identifiers come after the words."""
    words = [term for word in WORD.findall(text) for term in _word(word)]
    return words + [term for compound in COMPOUND.findall(text) for term in _compound(compound.lower())]


def content_spans(question: str) -> dict[str, tuple[int, int]]:
    """The words of QUESTION that carry its meaning, as written, each with where it first stands; identifiers whole."""
    spans: dict[str, tuple[int, int]] = {}
    for match in re.finditer(rf"{COMPOUND.pattern}|{WORD.pattern}", question):
        if terms(match.group()):
            spans.setdefault(match.group(), match.span())
    return spans


def releases(text: str) -> set[str]:
    """The releases of Go that TEXT names: "1.25" for "Go 1.25", "go1.25.3"."""
    return set(SPOKEN_RELEASE.findall(text))


def stem(word: str) -> str:
    """Fold the commonest English endings; WORD is lower case."""
    if len(word) <= 3 or not word.isalpha():
        return word
    for ending, instead in (("sses", "ss"), ("ies", "y"), ("ing", ""), ("ed", ""), ("s", "")):
        if word.endswith(ending) and not word.endswith(("ss", "us", "is")) and len(word) - len(ending) >= 3:
            return _restore(word[: -len(ending)] + instead, ending)
    return word.removesuffix("e") if len(word) > 4 else word


def _restore(root: str, ending: str) -> str:
    if ending in {"ing", "ed"} and len(root) > 3 and root[-1] == root[-2] and root[-1] not in "lsz":
        return root[:-1]
    return root.removesuffix("e") if len(root) > 4 else root


def _word(word: str) -> Iterator[str]:
    """WORD itself, then the pieces of a snake_case or CamelCase name."""
    lower = word.lower()
    if lower in STOP:
        return
    yield stem(lower)
    if "_" in word:
        yield from (stem(part) for part in lower.split("_") if part and part not in STOP)
    if not (word.islower() or word.istitle() or word.isupper()):
        pieces = [piece.lower() for piece in CAMEL.findall(word)]
        if len(pieces) > 1:
            yield from (stem(piece) for piece in pieces if len(piece) > 1 and piece not in STOP)


def _compound(compound: str) -> Iterator[str]:
    yield compound
    if release := RELEASE.fullmatch(compound):  # "go1.25" is what people write as "Go 1.25"
        yield release[1]
