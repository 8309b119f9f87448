"""`stackexchange:` addresses become questions with their best answers, by the sites' own interface.

`stackexchange:[SITE/]TAG[+TAG…]` stands for the answered questions that have all these tags, most votes first;
`stackexchange:[SITE/]questions/ID` is one of them. Each is known and cited under its own address at the site.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

from ...errors import AddressRefused, FetchError
from ...events import Cancel
from ...model import Page, Response
from .. import posts, stackapi, urls
from . import Means, media_type

log = logging.getLogger(__name__)

LOCAL = False
PARTIAL = True  # a list ends at the last of MAX_PAGES, and who has no answer yet is not on it
SCHEME = "stackexchange:"
PAGE_SIZE = 100  # the most that is given at once
MAX_PAGES = 10  # of a list: a thousand questions; a tag more makes a better list than a longer one

_DEFAULT: Final = "stackoverflow"
_ADDRESS: Final = re.compile(r"(?:(?P<site>[^/]+)/)??(?:questions/(?P<id>0*[1-9][0-9]{0,14})|(?P<tags>[^/]+))")
_SITE: Final = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_NETWORK: Final = re.compile(r"(\.(stackexchange|com))+$")  # what the names of sites go without
_TAG: Final = re.compile(r"[\w.+#-]+")


class Place(NamedTuple):
    """What an address names: one question of a site, or, with the id 0, the questions that have all the tags."""

    site: str
    tags: tuple[str, ...] = ()
    id: int = 0

    @property
    def url(self) -> str:
        site = "" if self.site == _DEFAULT else self.site + "/"
        return SCHEME + site + ("+".join(quote(tag, safe="") for tag in self.tags) or f"questions/{self.id}")


def canonical(address: str) -> str:
    return parse(address).url


def parse(address: str) -> Place:
    """What ADDRESS names; raises AddressRefused."""
    found = _ADDRESS.fullmatch(address.partition("#")[0][len(SCHEME) :])
    site = _NETWORK.sub("", (found["site"] or _DEFAULT).lower()) if found else ""
    tags = sorted({unquote(tag).lower() for tag in found["tags"].split("+")}) if found and found["tags"] else []
    if not found or not _SITE.fullmatch(site) or not all(map(_TAG.fullmatch, tags)):
        hint = (
            "stackexchange:go+pprof, stackexchange:emacs/org-mode or stackexchange:questions/123; c%2B%2B is a tag, too"
        )
        message = f"{address[:200]!r} is no address of questions"
        raise AddressRefused(message, hint=hint, data={"url": address[:200], "rule": "form"})
    return Place(site, tuple(tags), int(found["id"] or 0))


def pages(address: str, means: Means, cancel: Cancel) -> Iterator[str]:
    place = parse(address)
    if not place.tags:
        yield place.url
        return
    found = False
    for number in range(1, MAX_PAGES + 1):
        cancel.check()
        answer = stackapi.ask(
            means,
            cancel,
            "questions",
            site=place.site,
            tagged=";".join(place.tags),  # those with all of them
            sort="votes",
            order="desc",
            pagesize=PAGE_SIZE,
            page=number,
        )
        with stackapi.as_documented(answer.response.url):
            items = [each for each in answer.items if posts.answered(each)]
        for item in items:
            url, response = _response(place.site, item, answer)
            means.at_hand[url] = response
            found = True
            yield url
        if not answer.has_more:
            break
    else:
        log.warning("%s: of the questions, the %d with most votes are read", place.url, MAX_PAGES * PAGE_SIZE)
    if not found:
        hint = f"look the tags up at the site: on {place.site} no answered question has all of them"
        raise FetchError(f"no questions: {place.url}", hint=hint, data={"url": place.url})


def read(url: str, means: Means, cancel: Cancel, *, etag: str = "", last_modified: str = "") -> Response:
    place = parse(url)
    if not place.id:
        hint = f"ragmacs crawl {place.url}"
        raise FetchError(f"{place.url} is a list of questions, no page", hint=hint, data={"url": place.url})
    response = means.at_hand.pop(place.url, None) or _asked(place, means, cancel)
    return replace(response, status=304, body=b"", media_type="", charset="") if response.etag == etag else response


def page(body: bytes, url: str) -> Page:
    return posts.page(body, url)


def _asked(place: Place, means: Means, cancel: Cancel) -> Response:
    """The question at PLACE, asked for together with those that are read next.

    What a site does not show, as it was deleted, is not among the items of its answer.
    """
    others = (parse(each) for each in means.ahead if each.startswith(SCHEME) and each not in means.at_hand)
    near = [each for each in others if each.id and each.site == place.site and each != place][: PAGE_SIZE - 1]
    together = {each.url: str(each.id) for each in (place, *near)}
    means.ahead[:] = [each for each in means.ahead if each not in together]  # what is not shown is asked for alone
    try:
        answer = stackapi.ask(
            means, cancel, f"questions/{';'.join(together.values())}", site=place.site, pagesize=PAGE_SIZE
        )
    except AddressRefused as exc:
        if exc.data.get("rule") != "only":
            raise
        message = f"refused {place.url}: it is not indexed, and its site is not asked for who may not choose"
        raise AddressRefused(message, hint=f"ragmacs crawl {place.url}", data=exc.data) from exc
    means.at_hand.update(_response(place.site, item, answer) for item in answer.items)
    if found := means.at_hand.pop(place.url, None):
        return found
    hint = "it was deleted, or never was; check the number"
    raise FetchError(f"{place.site} has no question {place.id}", status=404, hint=hint, data={"url": place.url})


def _own_address(link: str, number: int) -> str:
    """Where the question of that NUMBER is at its site; raises ValueError for a LINK that leads away from them all."""
    at = urls.parse(link)
    if number < 1 or at.origin != f"https://{at.host}" or not stackapi.site_at(at.host):
        raise ValueError(f"question {number} at {at.origin}")
    return at._replace(path=f"/questions/{number}", query="").url  # without the slug, which goes with the title


def _response(site: str, item: Any, answer: stackapi.Answer) -> tuple[str, Response]:
    """The address of the question that ITEM of ANSWER is, and the question under its own address at the SITE."""
    with stackapi.as_documented(answer.response.url):
        number = int(item["question_id"])
        body = posts.kept(item)
        url = _own_address(str(item["link"]), number)
    digest = hashlib.sha256(body).hexdigest()[:32]
    source = f"{urls.parse(answer.response.fetched_from).origin}/{stackapi.VERSION}/questions"  # its query is for many
    made = replace(
        answer.response,
        url=url,
        fetched_from=source,
        body=body,
        media_type=media_type("stackexchange"),
        charset="utf-8",
        etag=digest,
        last_modified="",
    )
    return Place(site, id=number).url, made
