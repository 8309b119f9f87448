"""Tell a page from the wall in front of it: a login that the address led to, a stub that asks to subscribe."""

from __future__ import annotations

import re
from typing import Final

from ..model import Page
from .urls import parse

STUB: Final = 200  # words: a longer page says something, whatever it asks for at its end
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


def wall(asked: str, page: Page) -> str:
    """Why PAGE is not what ASKED was to lead to, or ""."""
    if page.url != asked and _LOGIN.search(parse(page.url).target) and not _LOGIN.search(parse(asked).target):
        return f"it leads to a login: {page.url}"
    words = sum(len(section.text.split()) for section in page.sections)
    if words < STUB and any(_PAID.search(section.text) for section in page.sections):
        return f"a paywall: only {words} words of it are open, and they ask to subscribe"
    return ""
