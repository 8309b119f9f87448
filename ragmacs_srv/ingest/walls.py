"""Tell a page from the wall in front of it: a login that the address led to, a stub that asks to subscribe.

What the markup says is judged while it is read, the rest of a page by who asked for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ..errors import NoContent
from ..model import Page
from .urls import parse

STUB: Final = 200  # words: a longer page says something, whatever it asks for at its end
FORM: Final = 100  # a page with a field for a password and fewer words is that form, whatever was asked for
PARTLY: Final = "the page says that not all of it is free to read: this may be only its beginning"
HINT: Final = "open it in a browser, save it, and give the file to ragmacs summarize"

# schema.org marks what stands behind a paywall; Facebook's `article:content_tier` does, too.
_FOR_PAY: Final = re.compile(
    r""""isAccessibleForFree"\s*:\s*"?false|content_tier["']\s+content=["'](?:locked|metered)""", re.IGNORECASE
)
_LOGIN = re.compile(
    r"/(?:log-?in|sign-?in|signon|sso|oauth2?|authorize|auth|session/new|users/sign_in)(?:[/.?]|$)", re.I
)
_PAID = re.compile(
    r"(?:subscribe|sign up|register|log in|sign in) (?:now )?to (?:continue|read|keep reading|unlock|access)|"
    r"(?:for|to) (?:our )?subscribers only|already (?:a subscriber|subscribed)|this (?:article|content|story) is "
    r"(?:for|reserved for|available to) (?:\w+ )?(?:subscribers|members)|"
    r"(?:become|unlock) a (?:paid )?(?:member|subscriber)",
    re.I,
)


def check(asked: str, page: Page) -> None:
    """Raise NoContent if PAGE, to which the address ASKED led, is a login or the stub of a page behind a paywall."""
    if page.url != asked and _is_login(page.url) and not _is_login(asked):
        raise NoContent(f"{asked} leads to a login: {page.url}", hint=HINT)
    words = sum(len(section.text.split()) for section in page.sections)
    if words < STUB and any(_PAID.search(section.text) for section in page.sections):
        message = f"{page.url} is behind a paywall: only {words} words of it are open, and they ask to subscribe"
        raise NoContent(message, hint=HINT)


def _is_login(url: str) -> bool:
    return url.startswith("http") and _LOGIN.search(parse(url).target) is not None


def asks_for_password(fields: Iterable[str]) -> bool:
    """Whether one of the types of a page's FIELDS is that for a password: so it is on every page of some sites."""
    return any(kind.lower() == "password" for kind in fields)


def check_form(url: str, words: int) -> None:
    """Raise NoContent if a page of so many WORDS with a field for a password is nothing but that form."""
    if words < FORM:
        raise NoContent(f"{url} asks for a login", hint=HINT)


def is_for_pay(markup: str) -> bool:
    """Whether a page declares that not all of it is free to read."""
    return _FOR_PAY.search(markup) is not None
