"""Turn an address into a response: vetted, polite, bounded in bytes and time, and stoppable.

One `get` is a walk over at most five redirects. Every hop is vetted (`address`), asked for its
robots.txt (`robots`), waits for its turn (`pace`), is dialled at a vetted IP address (`wire`), is tried
again where that may help, and read (`reply`). Each exchange has a connection of its own: a kept one to
a shared address would answer for a host that its certificate was never checked against. The bare
transport is used, not a client: no cookies, no redirects, no .netrc, no proxies from the environment.
"""

from __future__ import annotations

import functools
import logging
import re
import shlex
import ssl
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import httpx

from .. import __version__
from ..errors import AddressRefused, FetchError, RagmacsError, RobotsDenied, SettingsError
from ..events import Cancel
from ..model import Response
from . import robots
from .address import Resolver, Unreachable, Vetted, check_allow, check_origin, is_loopback, system_resolver, vet
from .pace import TRIES, Outages, Pace, backoff, retry_wait
from .reply import READABLE, SUCCESS, Reply, to_response
from .urls import Parts, follow, parse, shown
from .wire import Budget, Damaged, Wire, unpack, within

log = logging.getLogger(__name__)

USER_AGENT = f"{robots.AGENT}/{__version__} (+https://pypi.org/project/ragmacs-srv/)"
MAX_REDIRECTS = 5
MAX_ADDRESSES = 3  # dialled of one name; together they have `connect_timeout`
RESOLVE_TIMEOUT = 8.0  # seconds; longer than one server of a resolver is given, short enough to wait for

TOLD = SUCCESS | {400}  # what an interface answers in words: api.stackexchange.com/docs/error-handling
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "User-Agent": USER_AGENT,
    "Accept": "text/html, application/xhtml+xml, text/markdown;q=0.9, text/plain;q=0.8, */*;q=0.1",
    "Accept-Encoding": "gzip",  # what `unpack` can bound
    "Connection": "close",
}


class Dropped(FetchError):
    """A connection was made, and broke before the answer was complete."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One address on the way: under which identity it is known, whom we dial for it, and how often we may."""

    identity: Parts
    dialled: Parts
    vetted: Vetted
    delay: float


@dataclass(frozen=True, slots=True)
class Question:
    """One request: to whom, with which headers besides our own, and how many bytes of the answer we take.

    SECRET is a parameter that stands in the request and nowhere else. A body comes with the statuses in TOLD.
    """

    hop: Hop
    headers: Mapping[str, str]
    limit: int
    secret: str = ""
    told: frozenset[int] = SUCCESS


class Fetcher:
    """Gets pages, for as many threads as like to share it; close it, or use it as a context manager.

    `allow` are entries as `check_allow` takes them, `mirrors` maps origins to the origins fetched in
    their stead. With `only`, addresses that it does not accept are refused, those of redirects too.
    `proxy` and `ca_file` come from the configuration and from nowhere else: no variable of the
    environment is read. `deadline` is in seconds of network time for one `get` with all its redirects
    and tries, `robots_deadline` the same for a robots.txt; `delay` is in seconds between two requests
    to the same public origin.
    """

    def __init__(
        self,
        *,
        allow: Sequence[str] = (),
        only: Callable[[Parts], bool] | None = None,
        mirrors: Mapping[str, str] | None = None,
        proxy: str | None = None,
        ca_file: str | None = None,
        max_bytes: int = 10 * 2**20,
        deadline: float = 30.0,
        robots_deadline: float = 10.0,
        delay: float = 1.0,
        connect_timeout: float = 6.0,
        resolve: Resolver = system_resolver,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[Cancel, float], None] = Cancel.wait,
    ) -> None:
        self._mirrors = {
            check_origin(site, "mirrored site"): parse(check_origin(mirror, "mirror"))
            for site, mirror in (mirrors or {}).items()
        }
        self._allow = (*(parse(check_allow(entry)) for entry in allow), *self._mirrors.values())
        self._only = only
        self._max_bytes = max_bytes
        self._deadline = deadline
        self._robots_deadline = robots_deadline
        self._delay = delay
        self._connect_timeout = connect_timeout
        self._resolve = resolve
        self._clock = clock
        self._pause = pause
        trust = _trust(ca_file)
        self._direct = _transport(trust)
        self._proxied = _transport(trust, proxy) if proxy else None
        self._pace = Pace(clock)
        self._outages = Outages(clock)
        self._rules = robots.Cache(clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what the connections hold; a `get` under way in another thread fails."""
        self._direct.close()
        if self._proxied is not None:
            self._proxied.close()

    def get(
        self,
        url: str,
        *,
        etag: str = "",
        last_modified: str = "",
        also: frozenset[str] = frozenset(),
        cancel: Cancel | None = None,
    ) -> Response:
        """The page at URL, or the word that it is unchanged since the validators ETAG and LAST_MODIFIED.

        ALSO are media types that are taken besides those of pages.
        Raises AddressRefused, RobotsDenied, FetchError, NoContent and Cancelled.
        """
        with self._noting():
            return self._walk(parse(url), _validators(etag, last_modified), also, cancel or Cancel())

    def call(self, url: str, *, secret: str = "", cancel: Cancel | None = None) -> Response:
        """What the interface for programs at URL answers, in JSON: an error (400), too, as its body says what is wrong.

        Its robots.txt is not asked: that is for who follows links, while an interface is published to be called, by
        rules of its own. SECRET, as "key=…", is sent with the query and is in no Response, error or log; so that
        nobody else gets it, a redirect is an error. Raises AddressRefused, FetchError, NoContent and Cancelled.
        """
        cancel = cancel or Cancel()
        with self._noting():
            budget = Budget(self._deadline, self._clock)
            hop = self._vet(parse(url), budget, cancel)
            question = Question(hop, {"Accept": "application/json"}, self._max_bytes, secret, TOLD)
            reply = self._tried(question, hop.delay, budget, cancel, met=False)
            return to_response(
                reply,
                hop.identity,
                hop.dialled,
                conditional=False,
                max_bytes=self._max_bytes,
                kinds=frozenset({"application/json"}),
                told=TOLD,
            )

    def postpone(self, url: str, seconds: float) -> None:
        """Whoever asks the site of URL next waits for SECONDS from now, as it wishes."""
        identity = parse(url)
        self._pace.postpone(self._mirrors.get(identity.origin, identity).origin, seconds)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """What is refused is logged; who could not be reached is remembered."""
        try:
            yield
        except (AddressRefused, RobotsDenied) as refusal:
            _log(refusal)
            raise
        except Unreachable as outage:
            self._outages.note(outage)
            raise

    def _walk(self, identity: Parts, validators: Mapping[str, str], also: frozenset[str], cancel: Cancel) -> Response:
        budget = Budget(self._deadline, self._clock)
        hop = self._vet(identity, budget, cancel)
        for _ in range(MAX_REDIRECTS + 1):
            reply = self._ask(hop, validators, budget, cancel)
            if reply.status not in _REDIRECTS:
                kinds = READABLE | also
                return to_response(
                    reply,
                    hop.identity,
                    hop.dialled,
                    conditional=bool(validators),
                    max_bytes=self._max_bytes,
                    kinds=kinds,
                )
            hop = self._follow(hop, reply, budget, cancel)
        raise FetchError(
            f"{shown(identity.url)} redirects more than {MAX_REDIRECTS} times, last to {shown(hop.identity.url)}",
            hint="use the address at which a browser ends",
            data={"url": identity.url},
        )

    def _vet(self, identity: Parts, budget: Budget, cancel: Cancel) -> Hop:
        """Decide whom to dial for IDENTITY; the name is resolved here, and not again."""
        if self._only is not None and not self._only(identity):
            where = shown(identity.url)
            message = f"refused {where}: it is not indexed, nor on a site of a collection or an allow entry"
            hint = f"ragmacs crawl {shlex.quote(where)} --depth 0"
            raise AddressRefused(message, hint=hint, data={"url": where, "rule": "only"})
        mirror = self._mirrors.get(identity.origin)
        dialled = _at(identity, mirror) if mirror else identity
        self._outages.check(dialled.origin)
        resolve = None if self._needs_proxy(dialled) else self._resolve
        try:
            with budget.spend() as seconds:
                longest = min(seconds, RESOLVE_TIMEOUT)
                vetted = within(longest, cancel, lambda: vet(dialled, allow=self._allow, resolve=resolve))
        except TimeoutError as exc:
            if longest < RESOLVE_TIMEOUT:
                raise _late(identity, budget) from exc
            raise Unreachable("its name does not resolve in time", origin=dialled.origin) from exc
        return Hop(identity, dialled, vetted, 0.0 if mirror or vetted.local else self._delay)

    def _needs_proxy(self, dialled: Parts) -> bool:
        return self._proxied is not None and not is_loopback(dialled.host)

    def _follow(self, hop: Hop, reply: Reply, budget: Budget, cancel: Cancel) -> Hop:
        """The hop a redirect leads to, vetted like the first."""
        location = reply.headers.get("location", "")
        if not location:
            raise FetchError(f"{shown(hop.identity.url)} redirects ({reply.status}) without saying where")
        try:
            return self._vet(self._without_mirror(follow(hop.dialled, location), hop), budget, cancel)
        except AddressRefused as exc:
            message = f"{shown(hop.identity.url)} redirects to an address we do not read: {exc.message}"
            raise AddressRefused(message, hint=exc.hint, data=exc.data) from exc

    def _without_mirror(self, target: Parts, hop: Hop) -> Parts:
        """TARGET as the site itself would have named it: a mirror redirects to its own address."""
        if hop.dialled.origin == hop.identity.origin:
            return target
        if target.origin == hop.dialled.origin:
            return _at(target, hop.identity)
        mirrored = (site for site, mirror in self._mirrors.items() if mirror.origin == target.origin)
        site = next(mirrored, None)
        return _at(target, parse(site)) if site else target

    def _ask(self, hop: Hop, validators: Mapping[str, str], budget: Budget, cancel: Cancel) -> Reply:
        """The answer of one hop, if its site lets robots ask."""
        rules = self._rules.get(hop.dialled.origin, cancel, lambda: self._read_robots(hop, cancel))
        rules.check(hop.dialled.url, name=shown(hop.identity.url))
        question = Question(hop, validators, self._max_bytes)
        return self._tried(question, max(hop.delay, rules.delay), budget, cancel)

    def _tried(self, question: Question, delay: float, budget: Budget, cancel: Cancel, *, met: bool = True) -> Reply:
        """The answer to QUESTION, after as many tries as make sense, DELAY seconds after the one before at least.

        Who was not MET before, when it was asked for its rules, is not tried again where it cannot be reached.
        """
        origin = question.hop.dialled.origin
        for attempt in range(1, TRIES + 1):
            self._wait_for_turn(origin, delay, cancel)
            try:
                reply = self._exchange(question, budget, cancel)
            except (Dropped, Unreachable) as exc:
                if attempt == TRIES or not (met or isinstance(exc, Dropped)):
                    raise
                wait: float | None = backoff(attempt)
            else:
                wait = retry_wait(reply.status, reply.asks_to_wait(), attempt)
                if wait is None:
                    return reply
            self._pace.postpone(origin, wait or 0.0)
        raise AssertionError("the last try returns or raises")

    def _wait_for_turn(self, origin: str, delay: float, cancel: Cancel) -> None:
        wait = self._pace.take_turn(origin, delay)
        if wait:
            self._pause(cancel, wait)

    def _read_robots(self, hop: Hop, cancel: Cancel) -> robots.Rules:
        """The rules of the origin HOP dials: with their own deadline and redirects, and the same vetting."""
        self._outages.check(hop.dialled.origin)  # another thread may have found out while this one waited
        budget = Budget(self._robots_deadline, self._clock)
        asked = hop.dialled._replace(path="/robots.txt", query="")
        hop = replace(hop, identity=_at(asked, hop.identity), dialled=asked)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                reply = self._exchange(Question(hop, {}, robots.MAX_BYTES), budget, cancel)
                if reply.status not in _REDIRECTS:
                    return robots.from_answer(asked.url, reply.status, reply.body)
                hop = self._follow(hop, reply, budget, cancel)
        except Unreachable as outage:
            self._outages.note(outage)
            if outage.origin == asked.origin:
                raise
            return robots.unreadable(asked.url, outage.message)
        except (FetchError, AddressRefused) as exc:
            _log(exc)
            return robots.unreadable(asked.url, exc.message)
        return robots.unreadable(asked.url, f"more than {MAX_REDIRECTS} redirects")

    def _exchange(self, question: Question, budget: Budget, cancel: Cancel) -> Reply:
        """One request and its answer, in a thread of its own so that nothing that blocks can hold us."""
        wire = Wire()
        try:
            with budget.spend() as seconds:
                return within(seconds, cancel, lambda: self._dial(question, wire, seconds))
        except TimeoutError as exc:
            raise _late(question.hop.identity, budget) from exc
        finally:
            wire.cut()

    def _dial(self, question: Question, wire: Wire, seconds: float) -> Reply:
        """Ask at the first of the vetted addresses that can be connected to."""
        dialled, addresses = question.hop.dialled, question.hop.vetted.addresses
        if self._proxied is not None and self._needs_proxy(dialled):
            return self._send(self._proxied, question, dialled.host, wire, seconds)
        *others, last = addresses[:MAX_ADDRESSES]
        for address in others:
            with suppress(Unreachable):
                return self._send(self._direct, question, address, wire, seconds, share=len(others) + 1)
        return self._send(self._direct, question, last, wire, seconds, share=len(others) + 1)

    def _send(
        self,
        transport: httpx.HTTPTransport,
        question: Question,
        address: str,
        wire: Wire,
        seconds: float,
        *,
        share: int = 1,
    ) -> Reply:
        """Dial ADDRESS, but speak to the host: its name is in the request, and its certificate is checked."""
        url = question.hop.dialled
        target = f"{url.target}{'&' if url.query else '?'}{question.secret}" if question.secret else url.target
        connect = min(self._connect_timeout / share, seconds)
        extensions: dict[str, Any] = {
            "trace": wire.trace,
            "timeout": {"connect": connect, "read": seconds, "write": seconds, "pool": seconds},
        }
        if transport is self._direct:  # httpx would use it for the encryption to the proxy
            extensions["sni_hostname"] = url.host
        with _foreign_errors(question.hop, "" if transport is self._direct else " by way of the proxy"):
            request = httpx.Request(
                "GET",
                httpx.URL(scheme=url.scheme, host=address, port=url.port, raw_path=target.encode("ascii")),
                headers={**_HEADERS, **question.headers, "Host": url.netloc},
                extensions=extensions,
            )
            return _receive(transport.handle_request(request), question.limit, question.told)


def _validators(etag: str, last_modified: str) -> dict[str, str]:
    """The headers of a conditional request; what a header cannot carry was not a validator."""
    headers = {"If-None-Match": etag, "If-Modified-Since": last_modified}
    return {name: value for name, value in headers.items() if value and value.isascii() and value.isprintable()}


def _receive(response: httpx.Response, limit: int, told: Collection[int]) -> Reply:
    """Read the body that comes with a status in TOLD as far as LIMIT; no other body is of interest."""
    try:
        body = b""
        if response.status_code in told:
            body = unpack(response.iter_raw(), response.headers.get("content-encoding", ""), limit)
        return Reply(response.status_code, response.headers, body)
    finally:
        response.close()


@contextmanager
def _foreign_errors(hop: Hop, way: str) -> Iterator[None]:
    """Errors of httpx as ours; WAY is how we tried to connect, in words, if not directly."""
    url, origin = shown(hop.identity.url), hop.dialled.origin
    try:
        yield
    except httpx.ConnectTimeout as exc:
        raise Unreachable(f"no answer in time{way}", origin=origin) from exc
    except httpx.ConnectError as exc:
        raise _no_connection(exc, origin, way) from exc
    except httpx.ProxyError as exc:
        hint = "check proxy under [network] in the configuration"
        raise Unreachable(f"the proxy refused ({exc})", origin=origin, hint=hint) from exc
    except httpx.TimeoutException as exc:
        raise TimeoutError from exc  # the socket noticed the end of the budget before its keeper did
    except (httpx.NetworkError, httpx.RemoteProtocolError) as exc:
        raise Dropped(f"the connection broke while reading {url}: {_plain(exc)}", data={"url": url}) from exc
    except Damaged as exc:
        raise FetchError(f"{url} cannot be unpacked: {exc}", data={"url": url}) from exc
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise FetchError(f"cannot ask for {url}: {_plain(exc)}", data={"url": url}) from exc


def _no_connection(exc: httpx.ConnectError, origin: str, way: str) -> Unreachable:
    reason = _plain(exc) + way
    if "[SSL" not in str(exc):
        return Unreachable(reason, origin=origin)
    hint = "if your network has its own certificate authority, set ca_file under [network] in the configuration"
    return Unreachable(f"its certificate or encryption is not acceptable ({reason})", origin=origin, hint=hint)


def _plain(exc: Exception) -> str:
    """The words of EXC in one line, without "[Errno 111]", "[SSL: …]" and "(_ssl.c:1000)"."""
    words = re.sub(r"\(_ssl\.c:\d+\)", "", str(exc).rpartition("] ")[2])
    return " ".join(words.split()) or type(exc).__name__


def _transport(trust: ssl.SSLContext, proxy: str | None = None) -> httpx.HTTPTransport:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    try:
        if proxy and not re.match(r"\w+://(?:[^/@]*@)?[\w\[]", proxy):  # httpx would find out at the first page
            raise ValueError("it names no host")
        return httpx.HTTPTransport(verify=trust, trust_env=False, limits=limits, proxy=proxy)
    except (ValueError, ImportError, httpx.InvalidURL) as exc:
        hint = "proxy under [network] is like http://proxy.example:3128"
        raise SettingsError(f"cannot use the proxy {shown(proxy or '')}: {exc}", hint=hint) from exc


@functools.cache  # reading the public ones takes 30 ms
def _trust(ca_file: str | None) -> ssl.SSLContext:
    """The public certificate authorities, and the one in CA_FILE."""
    trust = httpx.create_ssl_context(trust_env=False)
    if ca_file:
        try:
            trust.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as exc:
            hint = "ca_file under [network] is a file of PEM certificates"
            raise SettingsError(f"cannot read the certificates in {ca_file}: {_plain(exc)}", hint=hint) from exc
    return trust


def _at(url: Parts, place: Parts) -> Parts:
    """URL at the origin of PLACE."""
    return url._replace(scheme=place.scheme, host=place.host, port=place.port)


def _late(url: Parts, budget: Budget) -> FetchError:
    hint = "the site is slow, or the page endless; try again later"
    return FetchError(f"{shown(url.url)} did not arrive within {budget.total:g} s", hint=hint, data={"url": url.url})


def _log(refusal: RagmacsError) -> None:
    log.info("%s [rule: %s]", refusal.message, refusal.data.get("rule", "robots"))
