"""Ask the Stack Exchange API (api.stackexchange.com/docs, version 2.3), and keep to what it asks of programs.

A question to it becomes an Answer, or the error that it amounts to. Who is told to wait waits; when that takes too
long, or the quota of the day is used up, nothing is asked any more.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ..errors import FetchError
from ..events import Cancel
from ..model import Response
from .pace import LONGEST_WAIT

if TYPE_CHECKING:
    from .kinds import Means

log = logging.getLogger(__name__)

VERSION: Final = "2.3"
ROOT: Final = f"https://api.stackexchange.com/{VERSION}"
KEY_HINT: Final = "a free key raises the quota of a day from 300 requests to 10,000: [stackexchange] key_command"
FIELDS: Final = {  # what is asked for; all else, such as view counts, would only make pages look changed
    "": ("backoff", "error_id", "error_message", "error_name", "has_more", "items", "quota_max", "quota_remaining"),
    "question": (
        *("answers", "body", "content_license", "creation_date", "last_edit_date", "link", "owner", "question_id"),
        *("score", "tags", "title"),
    ),
    "answer": (
        *("answer_id", "body", "content_license", "creation_date", "is_accepted", "last_edit_date", "owner", "score"),
    ),
    "shallow_user": ("display_name", "link"),
}

_FILTER: Final = "stackexchange filter"  # in Means.learnt: the name of the filter for FIELDS
_CLOSED: Final = "stackexchange closed"  # why nothing is asked any more
_SECONDS: Final = re.compile(r"\b(\d{1,9}) seconds")
_SITES: Final = ("stackoverflow.com", "superuser.com", "serverfault.com", "askubuntu.com", "stackapps.com")
_LONGEST: Final = 10**9  # seconds that are told as a time: calendars end
_THROTTLED: Final = 502
_HINTS: Final = {
    400: "check the names of the site and the tags, and the key",
    _THROTTLED: f"try again later; {KEY_HINT}",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered: items, whether there are more of them, and the response that they came in."""

    items: list[Any]
    has_more: bool
    response: Response


def ask(means: Means, cancel: Cancel, method: str, **parameters: str | int) -> Answer:
    """The answer of METHOD, with the FIELDS of what it gives; raises what `Fetcher.call` does."""
    if _FILTER not in means.learnt:  # one never changes, but has a name that only the API can tell
        include = ";".join(f"{kind}.{field}" for kind, fields in FIELDS.items() for field in fields)
        made = _call(means, cancel, "filters/create", include=include, base="none", unsafe="false")
        with as_documented(made.response.url):
            means.learnt[_FILTER] = str(made.items[0]["filter"])
    return _call(means, cancel, method, **parameters, filter=means.learnt[_FILTER])


def site_at(host: str) -> str:
    """How the API calls the site HOST, or ""."""
    host = host.removeprefix("www.")
    if host.endswith(".stackexchange.com"):
        return host.removesuffix(".stackexchange.com")
    if host in _SITES or host.endswith(".stackoverflow.com"):
        return host.removesuffix(".com")
    return host if host == "mathoverflow.net" else ""


@contextmanager
def as_documented(url: str) -> Iterator[None]:
    """While inside, what is missing in an answer from URL, or is of another type, is an error of the API."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, OSError) as exc:
        hint = "the documented API answers otherwise; is a mirror or a proxy in the way?"
        raise FetchError(f"{url} answers in a form we do not know: {exc!r:.100}", hint=hint, data={"url": url}) from exc


def _call(means: Means, cancel: Cancel, method: str, **parameters: str | int) -> Answer:
    if why := means.learnt.get(_CLOSED):
        raise FetchError(why, hint=KEY_HINT)
    key = means.stackexchange_key()
    secret = urlencode({"key": key}) if key else ""
    response = means.fetcher.call(f"{ROOT}/{method}?{urlencode(parameters)}", secret=secret, cancel=cancel)
    with as_documented(response.url):
        told: dict[str, Any] = json.loads(response.body)
        backoff, remaining = int(told.get("backoff", 0)), int(told.get("quota_remaining", 1))
        error = int(told.get("error_id", 0))
        answer = Answer(list(told.get("items", ())), bool(told.get("has_more", False)), response)
    if backoff > 0:
        _wait(means, response.url, backoff)
    if error:
        raise _refusal(means, response.url, told, error)
    if remaining <= 0:
        quota = f"the quota of {told.get('quota_max', 300)} requests a day is used up"
        means.learnt[_CLOSED] = f"the Stack Exchange API answers no more today: {quota}; try again tomorrow (UTC)"
    return answer


def _wait(means: Means, url: str, seconds: int) -> None:
    """Keep to a `backoff`: that method is not asked for so long; we ask none, and not at all if it is too long."""
    if seconds > LONGEST_WAIT:
        means.learnt[_CLOSED] = f"the Stack Exchange API asks to come back at {_when(seconds)}"
        return
    log.warning("the Stack Exchange API asks to wait for %d s", seconds)
    means.fetcher.postpone(url, seconds)


def _refusal(means: Means, url: str, told: dict[str, Any], error: int) -> FetchError:
    """The error that the API tells, in its own words."""
    words, name = (" ".join(str(told.get(each, "")).split())[:300] for each in ("error_message", "error_name"))
    message = f"the Stack Exchange API says no: {words} ({name}, {error})"
    hint = _HINTS.get(error, "try again later")
    seconds = float(found[1]) if error == _THROTTLED and (found := _SECONDS.search(words)) else 0.0
    if seconds:
        hint = f"try again at {_when(seconds)}; {KEY_HINT}"
    if error == _THROTTLED:
        means.learnt[_CLOSED] = f"{message}; {hint.partition(';')[0]}"
    return FetchError(message, retry_after=seconds, hint=hint, data={"url": url, "error_id": error})


def _when(seconds: float) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=min(seconds, _LONGEST)):%Y-%m-%d %H:%M} UTC"
