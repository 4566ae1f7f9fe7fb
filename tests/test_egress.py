"""The egress check: every class of address, every spelling of it, names that lie, and what a grant allows."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from mixkit.addresses import AllowedNetwork, classify
from mixkit.egress import EgressPolicy, HostPattern, PinnedAddress, check
from mixkit.errors import FFIError, GrantError, LimitExceeded
from mixkit.limits import Budget, Limits
from mixkit.target import MAX_URL, EgressDenied, Target, canonical_host, parse_url
from mixkit.testing.egress_matrix import NOT_PUBLIC, PUBLIC, SPELLINGS

POLICY = EgressPolicy()


class Names:
    """A resolver: each name answers its lists of addresses in turn, a numeric one what inet_aton reads."""

    def __init__(self, **names: list[list[str]]) -> None:
        self.names = {name.replace("_", "."): answers for name, answers in names.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        if host in self.names:
            answers = self.names[host]
            return answers.pop(0) if len(answers) > 1 else answers[0]
        return [socket.inet_ntoa(socket.inet_aton(host))]


def denied(url: str) -> EgressDenied:
    with pytest.raises(EgressDenied) as caught:
        POLICY.check_target(parse_url(url))
    return caught.value


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_an_address_that_is_not_public_is_refused_as_literal_and_behind_a_name(address: str) -> None:
    reason = classify(address)
    assert reason
    host = f"[{address}]" if ":" in address else address
    if "%" not in address:
        error = denied(f"https://{host}/")
        assert (error.reason, error.address) == (reason, str(ipaddress.ip_address(address)))
    with pytest.raises(EgressDenied) as caught:
        await check(parse_url("https://evil.example/"), POLICY, Names(evil_example=[[address]]))
    assert reason in caught.value.reason
    assert caught.value.address == str(ipaddress.ip_address(address))
    assert str(ipaddress.ip_address(address)) not in str(caught.value), "agents could map the network inside"


@pytest.mark.parametrize("address", PUBLIC)
async def test_a_public_address_is_pinned(address: str) -> None:
    assert classify(address) is None
    target = parse_url("https://good.example:8443/")
    text = str(ipaddress.ip_address(address))
    assert await check(target, POLICY, Names(good_example=[[address]])) == [
        PinnedAddress("good.example", 8443, text)
    ]


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(st.ip_addresses())
def test_what_passes_is_global_for_python_too_and_carries_no_other_address(ip: Any) -> None:
    assume(classify(ip) is None)
    assert ip.is_global and not ip.is_multicast and not ip.is_reserved
    if ip.version == 6:
        assert ip.ipv4_mapped is None and ip.sixtofour is None and ip.teredo is None


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("169.254.169.254", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
    ],
)
def test_the_reason_says_what_the_address_is(address: str, reason: str) -> None:
    assert reason in str(classify(address))


async def test_one_refused_address_among_public_ones_refuses_the_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "mixkit.egress")
    names = Names(mixed_example=[["8.8.8.8", "2606:4700::1", "10.0.0.1"]])
    with pytest.raises(EgressDenied, match="private"):
        await check(parse_url("https://mixed.example/"), POLICY, names)
    assert "mixed.example, port 443: it resolves to 10.0.0.1" in caplog.text


async def test_a_name_is_resolved_once_and_a_later_lie_is_a_new_check() -> None:
    names = Names(rebind_example=[["8.8.8.8"], ["127.0.0.1"]])
    target = parse_url("https://rebind.example/")
    assert [pinned.address for pinned in await check(target, POLICY, names)] == ["8.8.8.8"]
    assert names.asked == ["rebind.example"]
    with pytest.raises(EgressDenied, match="loopback"):
        await check(target, POLICY, names)


@pytest.mark.parametrize("answer", [[], ["not an address"], ["8.8.8.8", "127.1"], ["fe80::1%eth0"]])
async def test_what_a_resolver_may_not_answer(answer: list[str]) -> None:
    with pytest.raises(FFIError):
        await check(parse_url("https://odd.example/"), POLICY, Names(odd_example=[answer]))


async def test_a_name_that_does_not_resolve() -> None:
    async def nowhere(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no")

    with pytest.raises(FFIError, match=r"'no\.example' has no address"):
        await check(parse_url("https://no.example/"), POLICY, nowhere)


# -- spellings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_an_address_but_the_plain_one(host: str) -> None:
    denied(f"https://{host}/")


FORMS: list[Callable[[int], str]] = [str, hex, lambda n: f"0{n:o}", lambda n: f"0X{n:08X}"]


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """Some way to write an IPv4 address that is not public."""
    network = ipaddress.IPv4Network(
        draw(st.sampled_from(["0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16",
                              "172.16.0.0/12", "100.64.0.0/10", "224.0.0.0/4"]))
    )  # fmt: skip
    number = int(network[0]) + draw(st.integers(0, network.num_addresses - 1))
    octets = list(number.to_bytes(4, "big"))
    match draw(st.sampled_from(["parts", "mapped", "compatible", "nat64", "6to4"])):
        case "parts":
            count = draw(st.integers(1, 4))
            parts = [*octets[: count - 1], int.from_bytes(bytes(octets[count - 1 :]), "big")]
            forms = [draw(st.sampled_from(FORMS)) for _ in parts]
            text = draw(st.sampled_from([".", "。", "．"])).join(
                form(part) for form, part in zip(forms, parts, strict=True)
            )
            if draw(st.booleans()):
                text = text.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
            return text + draw(st.sampled_from(["", "."]))
        case "mapped":
            return f"[::ffff:{ipaddress.IPv4Address(number)}]"
        case "compatible":
            return f"[::{number >> 16:x}:{number & 0xFFFF:x}]"
        case "nat64":
            return f"[64:FF9B::{number >> 16:x}:{number & 0xFFFF:x}]"
        case _:
            return f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::]"


@given(spellings(), st.sampled_from(["https://{}/", "https://{}:8443/x", "HTTPS://{}?q", "https://{}#f"]))
async def test_any_spelling_of_an_address_that_is_not_public_is_refused(host: str, form: str) -> None:
    with pytest.raises(EgressDenied):
        await check(parse_url(form.format(host)), POLICY, Names())


@given(st.text("0123456789abcdefxX.:[]%@/\\。．１２ \t#?-", max_size=30))
@example("8.8.8.8")
@example("[2606:4700::1]")
async def test_no_text_leads_to_an_address_that_is_not_public(text: str) -> None:
    try:
        addresses = await check(parse_url(f"https://{text}"), POLICY, Names())
    except FFIError:
        return
    assert addresses and all(classify(pinned.address) is None for pinned in addresses)


# -- URLs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://user:pw@good.example/", "user name"),
        ("https://127.0.0.1#@good.example/", "loopback"),
        ("https://good.example\\@127.0.0.1/", "U+005C"),
        ("https:\\\\good.example/", "U+005C"),
        ("https://good.example\t/", "U+0009"),
        ("https://good.example/\r\nHost: x", "U+000D"),
        ("https://good.example/\x00", "U+0000"),
        (" https://good.example/", "absolute"),
        ("//good.example/", "absolute"),
        ("https:good.example", "absolute"),
        ("https:///path", "absolute"),
        ("file:///etc/passwd", "absolute"),
        ("gopher://good.example/", "port"),
        ("ftp://good.example:21/", "expected https, found 'ftp'"),
        ("http://good.example/", "expected https, found 'http'"),
        ("https://good.example:0/", "port"),
        ("https://good.example:65536/", "Port"),
        ("https://good.example:٣/", "Port|host"),
        ("https://good.example:1:2/", "brackets|Port|URL"),
        ("https://::1/", "brackets|Port|URL"),
        ("https://good..example/", "host name"),
        ("https://-good.example/", "host name"),
        ("https://good.example../", "host name"),
        ("https://" + "a" * 64 + ".example/", "host name"),
        ("https://" + "a." * 200 + "example/", "253"),
        ("https://good example/", "host name"),
        ("https://good.example\u2028/", "host name|international"),
        ("https://faß.example/", "xn--"),
        ("https://ex\u200dample.org/", "xn--"),
        ("https://good.example/" + "x" * MAX_URL, "characters"),
    ],
)  # fmt: skip
def test_urls_that_parsers_read_differently_are_refused(url: str, message: str) -> None:
    error = denied(url)
    assert any(part in str(error) for part in message.split("|")), str(error)
    assert "pw" not in str(error)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://Good.Example", "https://good.example/"),
        ("HTTPS://good.example.:443/a?b=c#d", "https://good.example/a?b=c"),
        ("https://good.example:8443/%7e/%zz?x=[1]", "https://good.example:8443/%7e/%zz?x=[1]"),
        ("https://münchen.example/ä ö?ü", "https://xn--mnchen-3ya.example/%C3%A4%20%C3%B6?%C3%BC"),
        ("https://good.example?q", "https://good.example/?q"),
        ("https://[2606:4700:0::1111]:443/", "https://[2606:4700::1111]/"),
        ("https://a_b.good.example:/", "https://a_b.good.example/"),
    ],
)
def test_a_url_has_one_canonical_form(url: str, canonical: str) -> None:
    target = parse_url(url)
    POLICY.check_target(target)
    assert target.url == canonical
    assert parse_url(canonical) == target


# -- the operator's exceptions, and grants -----------------------------------------------------------


@pytest.mark.parametrize(
    ("allow", "address", "port", "opens"),
    [
        ("10.0.0.5:8443", "10.0.0.5", 8443, True),
        ("10.0.0.5:8443", "10.0.0.5", 443, False),
        ("10.0.0.5:8443", "10.0.0.6", 8443, False),
        ("10.0.0.0/8", "10.9.9.9", 1, True),
        ("169.254.0.0/16", "169.254.1.1", 443, True),
        ("169.254.0.0/16", "169.254.169.254", 443, False),
        ("169.254.169.254:443", "169.254.169.254", 443, True),
        ("[::1]:8443", "::1", 8443, True),
        ("[::1]:8443", "::ffff:127.0.0.1", 8443, False),
        ("127.0.0.1", "::ffff:127.0.0.1", 443, False),
        ("fd00::/8", "fd01::1", 443, True),
        ("[fd00::/8]:443", "fd01::1", 80, False),
    ],
)
def test_an_exception_opens_what_it_names_and_nothing_else(
    allow: str, address: str, port: int, opens: bool
) -> None:
    policy = EgressPolicy(allow=(AllowedNetwork.parse(allow),))
    assert (policy.refusal(ipaddress.ip_address(address), port) is None) is opens


@pytest.mark.parametrize(
    "text", ["", "localhost", "10.0.0.1:0", "10.0.0.1:70000", "10.0.0.1/8", "[::1", "*", "1:2:3"]
)
def test_an_exception_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        AllowedNetwork.parse(text)


@pytest.mark.parametrize(
    ("pattern", "url", "matches"),
    [
        ("good.example", "https://GOOD.example./", True),
        ("GOOD.example", "https://good.example:8443/", True),
        ("good.example:443", "https://good.example:8443/", False),
        ("good.example", "https://www.good.example/", False),
        ("good.example", "https://evilgood.example/", False),
        ("good.example", "https://good.example.evil.org/", False),
        ("*.good.example", "https://a.b.good.example/", True),
        ("*.good.example", "https://good.example/", False),
        ("*.good.example", "https://evilgood.example/", False),
        ("*", "https://anything.example/", True),
        ("*:8443", "https://anything.example/", False),
        ("8.8.8.8", "https://8.8.8.8/", True),
        ("[2606:4700::0:1]:443", "https://[2606:4700::1]/", True),
        ("münchen.example", "https://xn--mnchen-3ya.example/", True),
    ],
)
def test_host_patterns(pattern: str, url: str, matches: bool) -> None:
    assert HostPattern.parse(pattern).matches(parse_url(url)) is matches


@pytest.mark.parametrize(
    "pattern", ["", "*.*", "a.*.b", "*good", "https://good.example", "user@good", "127.1", "*.1.2.3.4", "a/b"]
)
def test_a_pattern_that_cannot_be_enforced_is_an_error(pattern: str) -> None:
    with pytest.raises(GrantError, match=r"http\.hosts"):
        POLICY.restricted("http.hosts", [[pattern]])


@pytest.mark.parametrize("layer", ["good.example", None, {"good.example": 1}, [1]])
def test_a_layer_that_is_no_list_of_patterns_is_an_error(layer: object) -> None:
    with pytest.raises(GrantError, match="list of host patterns"):
        POLICY.restricted("http.hosts", [layer])


def test_a_host_must_be_in_every_layer() -> None:
    policy = POLICY.restricted("http.hosts", [["*.example", "*.org"], ["a.example", "b.org"]])
    policy.check_target(parse_url("https://a.example/"))
    for host in ("b.example", "a.org", "a.com"):
        with pytest.raises(EgressDenied, match="granted hosts"):
            policy.check_target(parse_url(f"https://{host}/"))
    with pytest.raises(EgressDenied):
        POLICY.restricted("http.hosts", [[]]).check_target(parse_url("https://a.example/"))


async def test_danger_opens_addresses_but_neither_odd_spellings_nor_ungranted_hosts() -> None:
    danger = EgressPolicy(schemes=("http", "https"), dangerous=True)
    assert await check(parse_url("http://169.254.169.254/"), danger) == [
        PinnedAddress("169.254.169.254", 80, "169.254.169.254")
    ]
    with pytest.raises(EgressDenied):
        await check(parse_url("http://127.1/"), danger)
    with pytest.raises(EgressDenied):
        await check(parse_url("http://127.0.0.1/"), danger.restricted("http.hosts", [["good.example"]]))


def test_a_host_without_url() -> None:
    assert Target.of("mqtts", "Broker.Example.", 8883) == Target("mqtts", "broker.example", 8883)
    assert canonical_host("[::1]") == ("::1", ipaddress.IPv6Address("::1"))
    with pytest.raises(EgressDenied):
        Target.of("mqtts", "broker.example/x", 8883)


async def test_the_systems_resolver_answers_addresses() -> None:
    with pytest.raises(EgressDenied, match="loopback"):
        await check(parse_url("https://localhost/"), POLICY)


async def test_names_are_counted_before_they_are_looked_up() -> None:
    budget = Budget(Limits(lookups=2))
    asked: list[str] = []

    async def resolver(host: str) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"]

    policy = POLICY.restricted("http.hosts", [], budget.look_up)
    assert policy == POLICY.restricted("http.hosts", []), "pools of connections are kept by policy"
    for host in ("one.example", "two.example", "one.example", "TWO.example", "8.8.8.8"):
        await check(parse_url(f"https://{host}/"), policy, resolver)
    with pytest.raises(LimitExceeded, match="lookups of 2 names"):
        await check(parse_url("https://three.example/"), policy, resolver)
    await check(parse_url("https://one.example/"), policy, resolver)
    assert set(asked) == {"one.example", "two.example"}
