"""Text becomes the terms that lexical search compares: words lightly stemmed, identifiers whole and in parts.

`debug.SetGCPercent` gives `debug setgcpercent set gc percent debug.setgcpercent`. What code writes with signs is
a term beside its words: `struct{}{}` gives `struct struct{}`, `-gcflags=-m` gives `gcflag m -gcflags -m -gcflags=-m`.
The same function reads pages and questions, so both sides agree. Terms hold no spaces and no quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

LONGEST = 40  # letters of a word that is worth remembering
WORD = re.compile(r"\w+")
# debug.SetGCPercent, runtime/metrics, 1.25, pkg:version; possessive, so that a line without a blank takes linear time
COMPOUND = re.compile(r"\b\w++(?:[./:]\w++)+")
CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
RELEASE = re.compile(r"go(\d+(?:\.\d+)+)")
SPOKEN_RELEASE = re.compile(r"\bgo ?(\d+\.\d+)", re.IGNORECASE)

# Code has four ways to write with signs. All are bounded or possessive: linear time, whatever the text.
# &x, *p, []byte, <-ch, ...int, -gcflags, %w, //go:noinline: signs before a name, not between two, nor *stress*
PREFIXED = re.compile(
    r"(?<![\w)\]:./*&-])(?:[&*~]|--?|\.\.\.|//|<-|%[-+#]?|\[\d*+\]){1,4}+(?=[^\W\d])\w++(?:[./:]\w++)*+(?!\*)"
)
# struct{}, map[string]int, chan<-, C++: signs behind a name; of struct{}{} the type
SUFFIXED = re.compile(r"(?<!\w)\w++(?:(?:\[[\w.*]*+\]\*?(?:\w++(?:\.\w++)*+)?+){1,4}+|\{\}|\+\+|<-(?!\w))")
# :=, !=, &&, <-, and the dots that do not end a phrase
OPERATOR = re.compile(  # the look behind comes last: a pattern that begins with signs skips prose fast
    r"(?:[-+*/%&|^<>=!:]=|&&|\|\||<<|>>|<-|[-=]>)(?<![-+*/%&|^<>=!:]..)(?![=<>|.:])"
    r"|\.\.\.(?:(?<![\w.]...)(?!\.)|(?<!\....)(?=[)\]]))"
)
# GODEBUG=gctrace=1, -gcflags=-m: a name and its value
SETTING = re.compile(r"(?<![\w-])-{0,2}+\w++(?:=-?\w++)++")
# What a question asks about, the longest first.
CONTENT = re.compile("|".join(each.pattern for each in (PREFIXED, SUFFIXED, OPERATOR, COMPOUND, WORD)))

# Words that say how a question is asked, not what it is about.
STOP = frozenset(
    """a about after all also am an and any are as at be because been before being both but by can could did do does
    doing don done down each few for from further had has have having he her here hers him his how i if in into is it
    its itself just let like ll me more most my myself need no nor not now of off on once one only or other our out
    over own please re s same she should so some such t than that the their them then there these they this those
    through to too under until up use used using ve very want was way we were what when where which while who whom
    why will with would you your yours e.g i.e""".split()  # noqa: SIM905 - a list of words reads better as words
)
# Those that the index knows, too: "many" and "much" of a question only ask for a number.
ASKING = STOP | {"many", "much"}
# The same in other languages. Only questions are read with them: to the index, "die" and "comment" are English.
FOREIGN = tuple(
    frozenset(words.split())
    for words in (
        """aber alle als am an auch auf aus bei bin bis da damit das dass dem den denn der des dessen die dies diese
        dieser doch dort du durch ein eine einem einen einer eines er es für gegen gibt haben hat ich ihr
        ihre im in ist ja kann kein keine können mache machen macht man mein meine mich mir mit muss nach
        nicht noch nur ob oder ohne sein seine sich sie sind so soll sollte um und uns von vor wann warum
        was welche welchem welchen welcher welches wenn wer werden wie wieso wird wo wozu wurde zu zum zur
        zwischen über""",
        """au aux avec ce cela ces cet cette comment d dans de des dois doit donc du elle elles en entre est et faire
        fait faut il ils j je l la le les leur leurs lui ma mais me mes mon n ne nous on ont ou où par pas
        peut peux pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa sans se ses si son
        sont sous sur ta te tes ton tu un une vous y à ça être""",
        """al como con cual cuales cuando cuál cuáles cuándo cómo de del desde donde dónde e el ella ellos en entre
        es esa ese eso esta este esto está están ha hace hacer hay la las le lo los me mi mis muy más ni
        no nos o para pero por porque puede puedo que qué quién se ser si sin sobre son su sus también te
        tiene tu un una uno unos usar y ya""",
    )
)


def terms(text: str) -> list[str]:
    """Every term of TEXT, stop words left out; whole identifiers, then notations of code, come after the words."""
    words = [term for word in WORD.findall(text) for term in _word(word)]
    compounds = [term for compound in COMPOUND.findall(text) for term in _compound(compound.lower())]
    return words + compounds + [term.lower() for term in _notations(text)]


def content_spans(question: str) -> dict[str, tuple[int, int]]:
    """The words of QUESTION that carry its meaning, as written, each with where it first stands.

    Identifiers and notations stay whole. Besides English stop words, those of the language that QUESTION seems
    to be in are left out.
    """
    spans: dict[str, tuple[int, int]] = {}
    for match in CONTENT.finditer(question):
        spans.setdefault(match.group(), match.span())
    stop = max((ASKING, *FOREIGN), key=lambda words: sum(word.lower() in words for word in spans))
    return {word: span for word, span in spans.items() if word.lower() not in stop and terms(word)}


def whole(word: str) -> str:
    """The term that stands for WORD itself, one of `content_spans`; the other `terms` of WORD are its parts.

    A text that lacks it does not know WORD: `HeapIdle` gives `heapidle`, which no text about a heap holds.
    The package of a name and the signs around it may differ from text to text: `debug.SetGCPercent` gives
    `setgcpercent`, `-gcflags` gives `gcflags` as it is stemmed. What is an everyday word without its package
    or signs keeps them: `sync.Pool`, `%w`, `C++`.
    """
    found = terms(word)
    name = next(iter(_names(word)), word)
    last = re.split("[./:]", name)[-1]
    release = RELEASE.fullmatch(name.lower())
    signed = word.startswith("%") or word.endswith("+")
    preferred = release[1] if release else word if signed else last if _composed(last) else name
    return next((term for term in (stem(preferred.lower()), preferred.lower()) if term in found), found[-1])


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


def _names(text: str) -> list[str]:
    return re.findall(rf"{COMPOUND.pattern}|{WORD.pattern}", text)


def _composed(word: str) -> bool:
    """WORD is a name made of several words, in snake_case or CamelCase."""
    return "_" in word.strip("_") or len(_pieces(word)) > 1


def _pieces(word: str) -> list[str]:
    """The words in a CamelCase name, in lower case; none for a plain word."""
    if word.islower() or word.istitle() or word.isupper():
        return []
    pieces = [piece.lower() for piece in CAMEL.findall(word)]
    return pieces if len(pieces) > 1 else []


def _notations(text: str) -> Iterator[str]:
    for pattern in (PREFIXED, SUFFIXED, OPERATOR):
        yield from pattern.findall(text)
    for setting in SETTING.findall(text):
        yield setting
        if "=" in (value := setting.partition("=")[2]):  # GODEBUG=gctrace=1 sets gctrace=1
            yield value


def _word(word: str) -> tuple[str, ...]:
    """WORD itself, then the pieces of a snake_case or CamelCase name."""
    return _remembered(word) if len(word) <= LONGEST else _parts(word)


@lru_cache(maxsize=1 << 14)  # a text says few words often
def _remembered(word: str) -> tuple[str, ...]:
    return _parts(word)


def _parts(word: str) -> tuple[str, ...]:
    lower = word.lower()
    if lower in STOP:
        return ()
    parts = lower.split("_") if "_" in word else ()
    pieces = (piece for piece in _pieces(word) if len(piece) > 1)
    return tuple(stem(each) for each in (lower, *parts, *pieces) if each and each not in STOP)


def _compound(compound: str) -> Iterator[str]:
    yield compound
    if release := RELEASE.fullmatch(compound):  # "go1.25" is what people write as "Go 1.25"
        yield release[1]
