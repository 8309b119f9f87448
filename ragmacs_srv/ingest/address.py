"""Decide whether an address may be dialled, and which IP addresses that means.

The rules, in the order they are applied:

form      one parser for check and connect; http and https only (`urls.parse`)
allow     an entry opens exactly its origin, and below its path if it has one; the other rules are for the rest
port      80 and 443
name      no single labels, no *.internal, *.local and their like
address   resolved once, and every address is global unicast; a name without an address is refused
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import AddressRefused, FetchError, InvalidParams
from .urls import Parts, parse, shown

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Resolver(Protocol):
    """Looks up a name; OSError when it has no address or nobody could be asked."""

    def __call__(self, host: str, port: int, /) -> Sequence[str]: ...


class Unreachable(FetchError):
    """No connection to ORIGIN could be made: its name does not resolve, or nothing answers there."""

    def __init__(self, reason: str, *, origin: str, hint: str = "") -> None:
        host = origin.partition("://")[2]
        super().__init__(f"cannot connect to {host}: {reason}", hint=hint or _REACH, data={"origin": origin})
        self.reason = reason
        self.origin = origin


_REACH = "check the network and the address; behind a proxy, set proxy under [network] in the configuration"


@dataclass(frozen=True, slots=True)
class Vetted:
    """What may be dialled for one address: nothing but `addresses`; none when a proxy will resolve the name.

    `local`: every address is private, and the user allowed it, so there is no stranger to be polite to.
    """

    addresses: tuple[str, ...]
    local: bool


# Ours rather than only ipaddress's: its tables changed in patch releases of Python.
_RANGES: tuple[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str], ...] = tuple(
    (ipaddress.ip_network(network), words)
    for network, words in (
        ("0.0.0.0/8", "this machine"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "a carrier's or tailnet's inner network"),
        ("127.0.0.0/8", "this machine"),
        ("168.63.129.16/32", "a cloud's metadata service"),
        ("169.254.0.0/16", "the local link or a cloud's metadata service"),
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "a range for protocols"),
        ("192.0.2.0/24", "a range for examples"),
        ("192.88.99.0/24", "a withdrawn relay range"),
        ("192.168.0.0/16", "a private network"),
        ("198.18.0.0/15", "a range for benchmarks"),
        ("198.51.100.0/24", "a range for examples"),
        ("203.0.113.0/24", "a range for examples"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "a reserved range"),
        ("::/127", "this machine"),
        ("fc00::/7", "a private network"),
        ("fe80::/10", "the local link"),
        ("ff00::/8", "multicast"),
        ("2001::/23", "a range for protocols"),
        ("2001:db8::/32", "a range for examples"),
        ("3fff::/20", "a range for examples"),
    )
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_PRIVATE_SUFFIXES = (".internal", ".local", ".localhost", ".localdomain", ".home.arpa", ".lan", ".intranet")


def system_resolver(host: str, port: int, /) -> Sequence[str]:
    """The addresses of HOST in the order the operating system prefers them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def vet(url: Parts, *, allow: Iterable[Parts], resolve: Resolver | None) -> Vetted:
    """The addresses that may be dialled for URL; RESOLVE is None when a proxy looks up names.

    AddressRefused when a rule forbids it, Unreachable when the name does not resolve.
    """
    allowed = is_allowed(url, allow)
    if not allowed:
        _check_port(url)
        _check_name(url)
    addresses = _lookup(url, resolve)
    if not allowed:
        _check_addresses(url, addresses)
    return Vetted(addresses, allowed and _is_local(url, addresses))


def is_loopback(host: str) -> bool:
    """Whether HOST is this machine, as far as can be told without asking anybody."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_allowed(url: Parts, allow: Iterable[Parts]) -> bool:
    """Whether one of the entries ALLOW opens URL; the robots.txt of an opened origin is open too."""
    return any(url.origin == entry.origin and _is_below(url.path, entry.path) for entry in allow)


def reserved(address: str) -> str:
    """What ADDRESS is instead of a public one; "" for global unicast."""
    try:
        inner = unwrap(ipaddress.ip_address(address))
    except ValueError:
        return "not an IP address"
    return next((words for ip in inner if (words := _reserved(ip))), "")


def unwrap(ip: IPAddress) -> tuple[IPAddress, ...]:
    """The addresses a packet to IP really reaches: v4-mapped, NAT64, 6to4 and Teredo carry others inside."""
    if isinstance(ip, ipaddress.IPv4Address):
        return (ip,)
    if ip.ipv4_mapped is not None:
        return (ip.ipv4_mapped,)
    if ip in _NAT64:
        return (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF),)
    if ip.sixtofour is not None:
        return (ip.sixtofour,)
    return ip.teredo or (ip,)


def check_allow(entry: str) -> str:
    """A user's allow entry as we keep it: an origin, or an origin and the path below which it holds."""
    parts = _user_address(entry, "allow entry")
    if parts.query or "?" in entry or "#" in entry or "*" in entry:
        raise InvalidParams(f"an allow entry is an origin, with a path at most: {shown(entry)}", hint=parts.origin)
    return parts.origin + (parts.path if parts.path != "/" else "")


def parse_mirror(text: str) -> tuple[str, str]:
    """`FROM=TO` as the two origins: pages of FROM are fetched from TO."""
    source, equals, mirror = text.partition("=")
    if not equals:
        raise InvalidParams(f"a mirror is FROM=TO: {shown(text)}", hint="--mirror https://go.dev=http://127.0.0.1:8737")
    return check_origin(source, "mirrored site"), check_origin(mirror, "mirror")


def check_origin(text: str, what: str) -> str:
    """TEXT as an origin; InvalidParams, naming WHAT it was to be, when it is more or less than one."""
    parts = _user_address(text, what)
    if parts.target != "/" or "?" in text or "#" in text:
        raise InvalidParams(f"the {what} must be an origin without a path: {shown(text)}", hint=parts.origin)
    return parts.origin


def _user_address(text: str, what: str) -> Parts:
    try:
        return parse(text.strip())
    except AddressRefused as exc:
        example = f"http://{shown(text.strip())}" if "://" not in text else ""
        raise InvalidParams(f"the {what} is {exc.message}", hint=example) from exc


def _is_below(path: str, prefix: str) -> bool:
    if prefix == "/" or path in (prefix, "/robots.txt"):
        return True
    hidden = "%2F" in path or "%5C" in path  # a server may decode these and walk out of the prefix
    return path.startswith(prefix.rstrip("/") + "/") and not hidden


def _check_port(url: Parts) -> None:
    if url.port not in (80, 443):
        raise _refusal(url, "port", f"only ports 80 and 443 are read, not {url.port}")


def _check_name(url: Parts) -> None:
    if _literal(url.host):
        return
    if "." not in url.host or url.host.endswith(_PRIVATE_SUFFIXES):
        raise _refusal(url, "name", f"{url.host} is a name of a private network")


def _lookup(url: Parts, resolve: Resolver | None) -> tuple[str, ...]:
    if _literal(url.host):
        return (url.host,)
    if resolve is None:
        return ()
    try:
        addresses = tuple(resolve(url.host, url.port))
    except (OSError, UnicodeError) as exc:
        raise Unreachable(f"its name does not resolve ({_reason(exc)})", origin=url.origin) from exc
    if not addresses:
        raise _refusal(url, "address", f"{url.host} has no address", hint=_REACH)
    return addresses


def _check_addresses(url: Parts, addresses: Iterable[str]) -> None:
    for address in addresses:
        if words := reserved(address):
            spelled = address if address == url.host else f"{url.host} ({address})"
            raise _refusal(url, "address", f"{spelled} is {words}, not the public internet")


def _is_local(url: Parts, addresses: Sequence[str]) -> bool:
    if not addresses:  # a proxy will resolve it: only the name can tell
        return is_loopback(url.host)
    return all(reserved(address) for address in addresses)


def _reserved(ip: IPAddress) -> str:
    for network, words in _RANGES:
        if ip.version == network.version and ip in network:
            return words
    is_unicast = ip.version == 4 or ip in _GLOBAL_UNICAST
    return "" if is_unicast and ip.is_global else "a special-purpose range"


def _literal(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()  # urls.parse has made sure that such a host is an address


def _refusal(url: Parts, rule: str, why: str, *, hint: str = "") -> AddressRefused:
    return AddressRefused(
        f"refused {shown(url.url)}: {why}",
        hint=hint or f"--allow {url.origin} if you trust it",
        data={"url": shown(url.url), "rule": rule},
    )


def _reason(exc: Exception) -> str:
    return exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc)
