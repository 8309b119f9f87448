"""Turn what people and pages write as an address into the one spelling a page is stored under."""

from __future__ import annotations

import ipaddress
import re
import string
from typing import NamedTuple
from urllib.parse import unquote

import idna

from ..errors import AddressRefused

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_LENGTH = 8192  # longer ones are traps; servers refuse them anyway

_REFERENCE = re.compile(  # RFC 3986, appendix B, with a strict scheme
    r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.DOTALL
)
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([0-9]*))?")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\\]")  # controls, lone surrogates, backslash
_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_UNSAFE = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]")
_TRACKING = re.compile(  # what newsletters, advertisements and shared links add to tell who clicked them
    r"(?:utm_[^=]*|gclid|dclid|fbclid|msclkid|yclid|gbraid|wbraid|twclid|igshid|mc_[ce]id|_hsenc|_hsmi|mkt_tok)(?:=|$)",
    re.IGNORECASE,
)


class Parts(NamedTuple):
    """A canonical address, taken apart; `host` has no brackets, `port` is always a number."""

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def netloc(self) -> str:
        """What belongs into a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    @property
    def target(self) -> str:
        """What belongs into a request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def url(self) -> str:
        return self.origin + self.target


def parse(url: str) -> Parts:
    """The parts of the canonical form of URL, so that what is vetted is also what is dialled.

    AddressRefused for anything but a well-formed http or https address without a user name.
    """
    try:
        return _parse(url)
    except ValueError as exc:
        message = f"not an address we can read: {shown(url)}: {exc}"
        raise AddressRefused(message, hint=_hint(url), data={"url": shown(url), "rule": "form"}) from exc


def canonical(url: str) -> str:
    """The identity of URL: its one spelling, without fragment and tracking parameters."""
    return parse(url).url


def origin(url: str) -> str:
    """`scheme://host`, with the port unless it is the scheme's own."""
    return parse(url).origin


def split_fragment(url: str) -> tuple[str, str]:
    """URL without its fragment, otherwise as it was written, and the heading id the fragment names."""
    page, _, fragment = url.partition("#")
    return page, unquote(fragment)


def follow(base: Parts, href: str) -> Parts:
    """The address HREF leads to from the page BASE; AddressRefused where nothing can be fetched."""
    return parse(_resolve(base, re.sub(r"[\t\n\r]", "", href.strip())))  # authors break long links over lines


def join(base: str, href: str) -> str | None:
    """The identity of the page HREF leads to from the page BASE; None for mailto:, file: and the unreadable."""
    try:
        return follow(parse(base), href).url
    except AddressRefused:
        return None


def shown(url: str) -> str:
    """URL as it may stand in a message: one line, not endless, and without a password."""
    line = re.sub(r"(//)[^/?#]*@", r"\1…@", url, count=1)
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line[:300])
    return line[:200] + "…" if len(line) > 200 else line


def _parse(url: str) -> Parts:
    page = url.partition("#")[0]
    match = _REFERENCE.fullmatch(page)
    assert match is not None  # every part of the pattern is optional
    scheme, authority, path, query = (text or "" for text in match.groups())
    if _FORBIDDEN.search(page):
        raise ValueError("it has a control character or a backslash in it")
    if scheme.lower() not in DEFAULT_PORTS:
        raise ValueError("only http and https addresses are read")
    host, port = _split_authority(authority, scheme.lower())
    parts = Parts(scheme.lower(), host, port, _remove_dots(_escape(path)) or "/", _clean_query(_escape(query)))
    if max(len(page), len(parts.url)) > MAX_LENGTH:
        raise ValueError(f"it is longer than {MAX_LENGTH} characters")
    return parts


def _hint(url: str) -> str:
    """What to write instead, for the likeliest slip: an address without its scheme."""
    looks_like_a_host = re.match(r"[\w-]+(\.[\w-]+)+(:[0-9]+)?(/|$)", url)
    return f"https://{shown(url)}" if looks_like_a_host else ""


def _split_authority(authority: str, scheme: str) -> tuple[str, int]:
    if "@" in authority:
        raise ValueError("addresses with a user name or password are not read")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise ValueError("the host or port is malformed")
    port = int(match[2][:6]) if match[2] else DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise ValueError("the port must be between 1 and 65535")
    return _host(match[1]), port


def _host(text: str) -> str:
    if not text:
        raise ValueError("it names no host")
    if "%" in text:
        raise ValueError("the host has a percent sign in it")
    if text.startswith("["):
        return ipaddress.IPv6Address(text[1:-1]).compressed
    name = _ascii(text).removesuffix(".")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError("the host is not a host name")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        return _ipv4(name)
    return name


def _ipv4(host: str) -> str:
    """2130706433, 0x7f.1 and 127.1 all mean 127.0.0.1 to getaddrinfo; nobody writes them in good faith."""
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise ValueError("a host that ends in a number must be four numbers, like 192.0.2.1") from None


def _ascii(host: str) -> str:
    if host.isascii():
        return host.lower()
    if len(host) > 253:
        raise ValueError("the host is too long")
    return idna.encode(host, uts46=True).decode("ascii").lower()  # IDNAError is a ValueError


def _escape(text: str) -> str:
    return _UNSAFE.sub(_escape_one, text)


def _escape_one(match: re.Match[str]) -> str:
    text = match[0]
    if len(text) == 3:
        char = chr(int(text[1:], 16))
        return char if char in _UNRESERVED else text.upper()
    return "".join(f"%{byte:02X}" for byte in text.encode())


def _remove_dots(path: str) -> str:
    """RFC 3986, 5.2.4; empty segments are kept, as servers may tell them apart."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", ".."):
        kept.append("")
    return "".join("/" + segment for segment in kept)


def _clean_query(query: str) -> str:
    return "&".join(part for part in query.split("&") if not _TRACKING.match(part))


def _resolve(base: Parts, href: str) -> str:
    """RFC 3986, 5.2.2; urllib.parse.urljoin would drop empty path segments."""
    match = _REFERENCE.fullmatch(href)
    assert match is not None  # every part of the pattern is optional
    scheme, authority, path, query = match.groups()
    if scheme is not None:
        return href
    if authority is not None:
        return f"{base.scheme}:{href}"
    if not path:
        return base.origin + base.path + "?" + (base.query if query is None else query)
    if not path.startswith("/"):
        path = base.path.rpartition("/")[0] + "/" + path
    return base.origin + path + "?" + (query or "")
