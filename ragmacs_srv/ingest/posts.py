"""Turn what the Stack Exchange API says of a question into the body that is kept, and that into a Page.

Votes come every day, and change nothing of what is said: a score is kept as a step of 1, 2, 5, 10, 20…, so that
most of them neither change the body nor have anything embedded again.
"""

from __future__ import annotations

import html
import json
from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from ..model import Page, Section
from .sections import Piece, build

BEST = 8  # answers that are kept: the accepted one, and those with a score of LEAST
LEAST = 1
QUESTION = "question"  # the ids that their pages have: #question, #answer-123

_STEPS: Final = (0, *(digit * 10**power for power in range(6) for digit in (1, 2, 5)))

Fields = Mapping[str, Any]


def answered(question: Fields) -> bool:
    """Whether one of the answers to QUESTION, as the API tells it, would be kept; the others only stand in the way."""
    return any(each.get("is_accepted") or int(each["score"]) >= LEAST for each in question.get("answers") or ())


def kept(question: Fields) -> bytes:
    """What we keep of a QUESTION as the API tells it: the same bytes as long as it says the same.

    Raises LookupError, TypeError or ValueError where it is none.
    """
    answers = [
        {**_post(each), "id": int(each["answer_id"]), "accepted": bool(each.get("is_accepted"))}
        for each in question.get("answers") or ()
    ]
    answers.sort(key=lambda each: (not each["accepted"], -each["score"], each["id"]))
    best = [each for each in answers if each["accepted"] or each["score"] >= LEAST][:BEST]
    made = {
        **_post(question),
        "title": html.unescape(str(question["title"])),
        "tags": list(map(str, question.get("tags", ()))),
        "answers": best,
        "more": len(answers) - len(best),
    }
    return json.dumps(made, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode(errors="replace")


def page(body: bytes, url: str) -> Page:
    """The page of a question: it, then its answers, the accepted one first, each a section of its own."""
    from .dom import line  # here: who only lists questions needs no lxml

    question = json.loads(body)
    title = line(question["title"])
    sections = [_section(url, title, QUESTION, "Question", question, _about(question))]
    for answer in question["answers"]:
        kind = "Accepted answer" if answer["accepted"] else "Answer"
        sections.append(_section(url, title, f"answer-{answer['id']}", kind, answer, ""))
    return Page(url, title, tuple(sections), author=line(question["author"]), date=question["date"])


def _post(post: Fields) -> dict[str, Any]:
    """What a question and an answer have both."""
    owner = post.get("owner") or {}
    return {
        "body": str(post["body"]),
        "author": html.unescape(str(owner.get("display_name") or "a user who left")),
        "profile": str(owner.get("link") or ""),
        "date": _day(post["creation_date"]),
        "edited": _day(post["last_edit_date"]) if post.get("last_edit_date") else "",
        "licence": str(post.get("content_license") or "CC BY-SA"),
        "score": _step(int(post["score"])),
    }


def _step(score: int) -> int:
    """The step that SCORE has reached; -1 below zero."""
    return _STEPS[bisect_right(_STEPS, score) - 1] if score >= 0 else -1


def _day(seconds: Any) -> str:
    return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%d}"


def _section(url: str, title: str, anchor: str, kind: str, post: Fields, about: str) -> Section:
    """A section that says who wrote it: in its heading, which every quote of it brings along, and at its end.

    The end is where what changes stands, so that all but the last passage of the section stay as they are.
    """
    from .dom import line
    from .extract import fragment

    author = line(post["author"])
    ends = (Piece("paragraph", line(text)) for text in (about, _signed(post, author)) if text)
    return build(url, anchor, (title, f"{kind} by {author}"), (*fragment(post["body"], url), *ends))


def _about(question: Fields) -> str:
    """What a question says of itself: its tags, and how many of its answers are not here."""
    tags = f"Tagged {', '.join(question['tags'])}." if question["tags"] else ""
    more = question["more"]
    left = f"{more} more {'answers' if more > 1 else 'answer'} with fewer votes at the site." if more else ""
    return " ".join(filter(None, (tags, left)))


def _signed(post: Fields, author: str) -> str:
    profile = f" ({post['profile']})" if post["profile"] else ""
    edited = f", edited {post['edited']}" if post["edited"] else ""
    score = f"score {post['score']}{'+' if post['score'] else ''}" if post["score"] >= 0 else "score below 0"
    return f"By {author}{profile}, {post['date']}{edited}; {score}; {post['licence']}"
