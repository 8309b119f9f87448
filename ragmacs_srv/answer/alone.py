"""A sentence becomes a judgement: whether it can be understood alone, and is about the subject of its page.

The rules are of English; a sentence of another language meets none of them. They look at how it begins and at what it
points to, never at what it is about.
"""

from __future__ import annotations

import re
from typing import Final

# A sentence that leans on one before it, or speaks of the text and its people and not of the subject.
_APART: Final = re.compile(
    r"(?:This|That|These|Those|It|They|He|She|Such|However|Therefore|Thus|Hence|Instead|Moreover|Also|But|And|So|Then|"
    r"Otherwise|Here|Both|Either|Similarly|Specifically|Alternatively|Additionally|Conversely|Unfortunately|Likewise|"
    r"First|Second|Third|Secondly|Thirdly|Finally|Another|Next|Again|Indeed|Ok|OK|Okay|Well|Yes|No|"
    r"The (?:first|second|third|fourth|latter|former|next|other|same)|On the (?:other hand|contrary)|"
    r"For (?:example|instance)|As an example|Examples?|Below|(?:Less|More|Most) \w+ly|There (?:is|are) also|"
    r"In (?:short|both|addition|contrast|other words|this|that|these|the (?:next|following|above|previous))|"
    r"To (?:this|that) end|For (?:the |more |further |full )*(?:details?|information)|Try|"
    r"(?:Suppose|Assume|Imagine|Consider|Recall|Remember|Notice|Say)|Note that|As (?:we|you|noted|mentioned|described)|"
    r"We (?:want|thank|hope|follow|walk|see)|I|I[’']d|Thanks|See|Our|Now)\b"
)
# What is said of something else: a pronoun before anything that it could stand for, a picture, a place in the text.
_LEANING: Final = re.compile(
    r"\A\(|"
    r"\A(?:Because|Since|When|While|Although|Though|Once|As|After|Before|If|Unless) (?:it|they|this|these|those)\b|"
    r"\A(?:In|On|Like|With|Since|As of|From|Before|After|Until|By|At|Under|During) (?:[^,.;:]|\.(?=\d)){1,40}, "
    r"(?:it|they|this|that|these|those)\b|\b[Ll]et[’']s\b|"
    r"\b(?:diagram|visualization|figure|screenshot|picture|snippet)s? (?:above|below)\b|"
    r"\b(?:[Tt]he|[Ff]ollowing) (?:diagram|visualization|figure|screenshot|picture|snippet)s?\b|"
    r"\b(?:described|shown|mentioned|discussed|noted|seen|listed|given) (?:in )?(?:above|below|earlier)\b|"
    r"\b[Ff]ollowing (?:instructions?|steps?|code|example|section|program|table|list|command)s?\b|"
    r"\bof this (?:section|page|document)\b|"
    r"[,(] ?see\b"
)
_VAGUE: Final = re.compile(r"\b(?:[Tt]his|[Tt]hese|[Tt]hose|such(?! as\b)|we|We|us|our|I|my)\b")
_LOWER: Final = re.compile(r"[a-zà-ÿ]+(?= )")
_OPENING: Final = re.compile(
    r"This (?:\w+ ){0,2}(?:guide|document|page|article|post|tutorial|package|chapter|manual|paper)\b"
)
_NOTE: Final = re.compile(r"(?:Note|Tip|Important|Warning|Caution): +")


def bare(text: str) -> str:
    """TEXT without the word that says how it is meant: "Note: "."""
    return _NOTE.sub("", text)


def stands_alone(text: str, *, whole: bool = True) -> bool:
    """Whether TEXT can be understood without what is around it. WHOLE: it is a sentence, not an item of a list."""
    if (whole and _LOWER.match(text)) or text.endswith((":", "?", ",", ";")):  # what a block of code or a break cut
        return False
    said = bare(text)
    return not (_APART.match(said) or _LEANING.search(said))


def is_vague(text: str) -> bool:
    """Whether TEXT points back somewhere, or tells what its authors did: it may need what is around it."""
    return _VAGUE.search(text) is not None


def introduces(text: str) -> bool:
    """Whether TEXT says what the page is that it stands on: "This guide is about ..."."""
    return _OPENING.match(text) is not None
