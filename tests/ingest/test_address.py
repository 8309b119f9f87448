import socket

import pytest

from ragmacs_srv.errors import AddressRefused, FetchError, InvalidParams
from ragmacs_srv.ingest.address import check_allow, parse_mirror, reserved, system_resolver, vet
from ragmacs_srv.ingest.urls import parse

PUBLIC = "93.184.216.34"


def answers(*addresses):
    """A resolver that gives ADDRESSES for every name."""
    return lambda host, port: addresses


def unasked(host, port):
    raise AssertionError(f"{host} was looked up")


def judge(url, *, allow=(), resolve=unasked):
    return vet(parse(url), allow=[parse(entry) for entry in allow], resolve=resolve)


@pytest.mark.parametrize(
    "address",
    [
        PUBLIC,
        "8.8.8.8",
        "1.1.1.1",
        "172.32.0.1",
        "100.128.0.1",
        "192.0.1.1",
        "2606:4700::1111",
        "2a00:1450:4001:80b::200e",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)
def test_public_addresses_are_public(address):
    assert reserved(address) == ""


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:0808:0808:0:0:80ff:fffe",
        "2001:0:7f00:1::f7f7:f7f7",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a00:1::1",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "not an address",
        "",
    ],
)
def test_all_other_addresses_are_reserved(address):
    assert reserved(address)


def test_teredo_is_judged_by_both_of_its_addresses():
    assert reserved("2001:0:808:808::f7f7:f7f7") == ""  # server 8.8.8.8, client 8.8.8.8


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::]/",
        "http://127.0.0.1:443/",
    ],
)
def test_a_private_address_is_refused_without_a_look_up(url):
    with pytest.raises(AddressRefused) as refusal:
        judge(url)
    assert refusal.value.data["rule"] == "address"
    assert refusal.value.hint.startswith(f"--allow {parse(url).origin}")


@pytest.mark.parametrize("name", ["2130706433.example", "0x7f.example.com", "127.1.example.org"])
def test_a_name_that_only_begins_like_a_number_is_looked_up(name):
    assert judge(f"http://{name}/", resolve=answers(PUBLIC)).addresses == (PUBLIC,)


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "wiki",
        "metadata.google.internal",
        "printer.local",
        "printer.local.",
        "a.localhost",
        "nas.home.arpa",
    ],
)
def test_a_name_of_a_private_network_is_refused_without_a_look_up(name):
    with pytest.raises(AddressRefused) as refusal:
        judge(f"http://{name}/")
    assert refusal.value.data["rule"] == "name"


@pytest.mark.parametrize("port", [1, 22, 6379, 8080, 8443])
def test_other_ports_are_refused(port):
    with pytest.raises(AddressRefused) as refusal:
        judge(f"http://go.dev:{port}/")
    assert refusal.value.data["rule"] == "port"


def test_one_private_address_among_public_ones_is_enough_to_refuse():
    with pytest.raises(AddressRefused) as refusal:
        judge("https://go.dev/", resolve=answers(PUBLIC, "10.0.0.1"))
    assert "10.0.0.1" in refusal.value.message


def test_a_name_without_an_address_is_refused():
    with pytest.raises(AddressRefused):
        judge("https://go.dev/", resolve=answers())


def test_a_name_that_does_not_resolve_is_a_connection_that_cannot_be_made():
    def nobody(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(FetchError, match=r"^cannot connect to go\.dev: its name does not resolve"):
        judge("https://go.dev/", resolve=nobody)


def test_all_vetted_addresses_may_be_dialled():
    vetted = judge("https://go.dev/", resolve=answers(PUBLIC, "2606:4700::1111"))
    assert vetted.addresses == (PUBLIC, "2606:4700::1111")
    assert not vetted.local


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("http://127.0.0.1:8737", "http://127.0.0.1:8737/doc"),
        ("http://[::1]:8737", "http://[::1]:8737/"),
        ("http://10.0.0.1", "http://10.0.0.1/x?y"),
        ("http://127.0.0.1:8737/doc", "http://127.0.0.1:8737/doc"),
        ("http://127.0.0.1:8737/doc", "http://127.0.0.1:8737/doc/a"),
        ("http://127.0.0.1:8737/doc/", "http://127.0.0.1:8737/doc/a"),
        ("http://127.0.0.1:8737/doc", "http://127.0.0.1:8737/robots.txt"),
    ],
)
def test_an_allow_entry_opens_its_origin(entry, url):
    assert judge(url, allow=[entry]).local


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("http://127.0.0.1:8737", "http://127.0.0.1:8738/"),
        ("http://127.0.0.1:8737", "http://127.0.0.1/"),
        ("http://127.0.0.1:8737", "https://127.0.0.1:8737/"),
        ("http://127.0.0.1:8737", "http://localhost:8737/"),
        ("http://127.0.0.1:8737", "http://127.0.0.2:8737/"),
        ("http://127.0.0.1:8737", "http://[::ffff:127.0.0.1]:8737/"),
        ("http://127.0.0.1", "http://127.0.0.1.example.com:8080/"),
        ("http://127.0.0.1:8737/doc", "http://127.0.0.1:8737/"),
        ("http://127.0.0.1:8737/doc", "http://127.0.0.1:8737/docs"),
        ("http://127.0.0.1:8737/doc", "http://127.0.0.1:8737/doc/../secret"),
        ("http://127.0.0.1:8737/doc", "http://127.0.0.1:8737/doc/..%2fsecret"),
        ("http://127.0.0.1:8737/doc", "http://127.0.0.1:8737/doc/..%5csecret"),
    ],
)
def test_an_allow_entry_opens_nothing_else(entry, url):
    with pytest.raises(AddressRefused):
        judge(url, allow=[entry])


def test_an_allowed_name_may_have_a_private_address():
    vetted = judge("http://wiki:8080/", allow=["http://wiki:8080"], resolve=answers("10.1.2.3"))
    assert vetted.addresses == ("10.1.2.3",)
    assert vetted.local


def test_an_allowed_public_site_is_not_local():
    assert not judge("http://go.dev:8080/", allow=["http://go.dev:8080"], resolve=answers(PUBLIC)).local


def test_a_proxy_resolves_names_but_the_other_rules_hold():
    assert judge("https://go.dev/", resolve=None).addresses == ()
    for url in ("http://10.0.0.1/", "http://wiki/", "http://go.dev:8080/"):
        with pytest.raises(AddressRefused):
            judge(url, resolve=None)


@pytest.mark.parametrize(
    ("written", "entry"),
    [
        ("http://127.0.0.1:8737", "http://127.0.0.1:8737"),
        ("http://127.0.0.1:8737/", "http://127.0.0.1:8737"),
        (" HTTP://LocalHost:80 ", "http://localhost"),
        ("https://wiki/docs/", "https://wiki/docs/"),
        ("https://wiki/docs/../x", "https://wiki/x"),
        ("http://[::1]:6060", "http://[::1]:6060"),
    ],
)
def test_an_allow_entry_has_one_spelling(written, entry):
    assert check_allow(written) == entry


@pytest.mark.parametrize(
    "written",
    ["", "*", "127.0.0.1:8737", "localhost", "http://*.example.com", "http://h/*", "http://h/?q", "http://u@h/"],
)
def test_an_allow_entry_that_is_no_origin_is_an_invalid_argument(written):
    with pytest.raises(InvalidParams):
        check_allow(written)


def test_an_allow_entry_without_a_scheme_is_corrected_in_the_hint():
    with pytest.raises(InvalidParams) as error:
        check_allow("127.0.0.1:8737")
    assert error.value.hint == "http://127.0.0.1:8737"


def test_a_mirror_is_two_origins():
    assert parse_mirror("https://Go.dev/=http://127.0.0.1:8737") == ("https://go.dev", "http://127.0.0.1:8737")


@pytest.mark.parametrize(
    "text",
    ["", "https://go.dev", "https://go.dev=", "=http://h", "https://go.dev/doc=http://h", "https://go.dev=file:///x"],
)
def test_a_mirror_that_is_not_two_origins_is_an_invalid_argument(text):
    with pytest.raises(InvalidParams):
        parse_mirror(text)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "127.0.0.1"])
def test_what_the_system_resolver_makes_of_odd_numbers_is_judged(host):
    """urls.parse refuses these; should it ever not, the addresses are judged, not their spelling."""
    with pytest.raises(AddressRefused):
        vet(parse("http://go.dev/"), allow=[], resolve=lambda name, port: system_resolver(host, port))
