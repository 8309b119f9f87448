"""The Stack Exchange API on loopback, as far as it is documented: api.stackexchange.com/docs, version 2.3.

Every answer is the common wrapper, packed by gzip; filters are made by /filters/create and take out what they do not
include; errors are HTTP 400 with error_id, error_name and error_message. The questions are made up.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers import Answer, Request, Site, Visit, serve

ORIGIN = "https://api.stackexchange.com"
HOSTS = {"stackoverflow": "stackoverflow.com", "emacs": "emacs.stackexchange.com"}
WRAPPER = {"has_more", "items", "quota_max", "quota_remaining"}

Post = dict[str, Any]


def person(name: str, number: int = 7, site: str = "stackoverflow") -> Post:
    link = f"https://{HOSTS[site]}/users/{number}/somebody"
    return {"display_name": name, "user_id": number, "link": link, "reputation": 101, "user_type": "registered"}


def reply(number: int, body: str, *, score: int = 3, accepted: bool = False, by: str = "Bo", **more: Any) -> Post:
    return {
        "answer_id": number,
        "body": body,
        "score": score,
        "is_accepted": accepted,
        "owner": person(by, number),
        "creation_date": 1_600_000_000,
        "last_activity_date": 1_600_000_000 + score,
        "content_license": "CC BY-SA 4.0",
        **more,
    }


def question(
    number: int, title: str, body: str, *replies: Post, tags: tuple[str, ...] = ("go",), site: str = "stackoverflow"
) -> Post:
    return {
        "question_id": number,
        "title": title,
        "body": body,
        "tags": list(tags),
        "link": f"https://{HOSTS[site]}/questions/{number}/a-slug",
        "score": 12,
        "view_count": 1234,
        "answer_count": len(replies),
        "answers": list(replies),
        "owner": person("Ann", site=site),
        "creation_date": 1_500_000_000,
        "content_license": "CC BY-SA 3.0",
    }


class Refused(Exception):
    """What the API says no to: error_id, error_name, error_message."""


@dataclass
class Api:
    """What the interface knows, and how it is in the mood to answer."""

    questions: dict[str, list[Post]]  # of each site
    quota: int = 300
    backoff: dict[int, int] = field(default_factory=dict)  # seconds, told with the answer of that number (from 1)
    throttle: str = ""  # the words that every request is answered with
    site: Site = field(init=False)
    filters: dict[str, frozenset[str]] = field(default_factory=dict)
    answered: int = 0

    @property
    def origin(self) -> str:
        return self.site.origin

    @property
    def asked(self) -> list[str]:
        """The methods that were called, with the number of the page of a list."""
        found = []
        for request in self.site.requests:
            parts = urlsplit(request.target)
            page = parse_qs(parts.query).get("page")
            found.append(parts.path.removeprefix("/2.3/") + (f" {page[0]}" if page else ""))
        return found

    @property
    def requests(self) -> list[Request]:
        return self.site.requests

    def answer(self, visit: Visit) -> Answer:
        self.answered += 1
        self.quota -= 1
        told: Post = {"quota_max": 300, "quota_remaining": max(self.quota, 0)}
        status = 200
        parts = urlsplit(visit.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        try:
            if self.throttle or self.quota < 0:
                raise Refused(502, "throttle_violation", self.throttle or "too many requests from this IP")
            told |= self.result(parts.path.removeprefix("/2.3/"), asked)
        except Refused as refusal:
            status = 400
            told = dict(zip(("error_id", "error_name", "error_message"), refusal.args, strict=True))
        if self.answered in self.backoff:
            told["backoff"] = self.backoff[self.answered]
        packed = gzip.compress(json.dumps(told).encode())
        return Answer(packed, status, "application/json; charset=utf-8", {"Content-Encoding": "gzip"})

    def result(self, method: str, asked: Mapping[str, str]) -> Post:
        if method == "filters/create":
            name = f"!made{len(self.filters)}"
            self.filters[name] = frozenset(asked["include"].split(";"))
            return {"items": [{"filter": name, "filter_type": "safe"}], "has_more": False}
        if asked.get("site") not in self.questions:
            raise Refused(400, "bad_parameter", f"No site found for name `{asked.get('site')}`")
        if asked.get("filter") not in self.filters:
            raise Refused(400, "bad_parameter", "Invalid filter specified")
        fields = self.filters[asked["filter"]]
        assert {f".{each}" for each in WRAPPER} <= fields, "the filter leaves out a part of the wrapper"
        found, has_more = self.select(method, asked)
        return {"items": [shown(each, "question", fields) for each in found], "has_more": has_more}

    def select(self, method: str, asked: Mapping[str, str]) -> tuple[list[Post], bool]:
        known = self.questions[asked["site"]]
        if method == "questions":
            tags = set(asked["tagged"].split(";"))
            found = [each for each in known if tags <= set(each["tags"])]
            size, page = int(asked["pagesize"]), int(asked["page"])
            if size > 100:
                raise Refused(400, "bad_parameter", "pagesize")
            return found[(page - 1) * size : page * size], len(found) > page * size
        ids = set(method.removeprefix("questions/").split(";"))
        return [each for each in known if str(each["question_id"]) in ids], False


def shown(item: Post, kind: str, fields: frozenset[str]) -> Post:
    """ITEM with the FIELDS that a filter includes; those of the objects in it, too."""
    kinds = {"owner": "shallow_user"}
    found = {name: value for name, value in item.items() if f"{kind}.{name}" in fields}
    for name, value in found.items():
        if isinstance(value, dict):
            found[name] = shown(value, kinds[name], fields)
        elif name == "answers":
            found[name] = [shown(each, "answer", fields) for each in value]
    return found


@contextmanager
def stackexchange(*questions: Post, **more: list[Post]) -> Iterator[Api]:
    """The API with QUESTIONS at Stack Overflow, and those of other sites by their names, while inside."""
    api = Api({"stackoverflow": list(questions), **more})
    with serve(api.answer) as api.site:
        yield api
