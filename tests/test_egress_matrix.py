"""Every plugin that connects outward, held against the same matrix by its own FFIs: what is not public is never connected
to, however it is written or reached, and what is, at the address that was checked and no other.

Names are made up, and the watch lets nothing out; so nothing here needs, or reaches, a network.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import trustme

from mixkit import egress
from mixkit.distributions import installed
from mixkit.errors import MixError
from mixkit.ffi_call import call_ffi
from mixkit.grants import ALL, Grants
from mixkit.kernel import Kernel
from mixkit.storage import Place
from mixkit.testing.egress_matrix import LOCATIONS, NOT_PUBLIC, PUBLIC, REFUSED, SPELLINGS, Names, watched

NAME = "good.example"


class Way:
    """One way out: a plugin, and its FFI that leads there.

    Args:
        scheme: of the URLs over TLS.
        plain: of those without.
        call: name and arguments of the FFI, for a URL.
        setting: in which the operator writes the URL, if the agent does not choose it.
        redirects: whether peers can send it elsewhere.
        prefix: of the names of its settings.
        more: settings that it needs.
        every: of the addresses, each so manieth is tried, where a try takes long.
    """

    def __init__(
        self,
        plugin: str,
        scheme: str,
        call: Callable[[str], tuple[str, list[Any]]],
        *,
        setting: str = "",
        redirects: bool = False,
        dangerous: str = "",
        prefix: str = "",
        profile: str = "",
        more: Mapping[str, Any] | None = None,
        every: int = 1,
    ) -> None:
        self.plugin = plugin
        self.scheme = scheme
        self.plain = scheme.removesuffix("s")
        self.call = call
        self.setting = setting
        self.redirects = redirects
        self.dangerous = dangerous or f"dangerous_{plugin}_mode"
        self.prefix = prefix
        self.profile = profile
        self.more = {"connect_timeout": 5.0} if more is None else dict(more)
        self.every = every

    def __repr__(self) -> str:
        return self.call("")[0]

    def some(self, items: Sequence[str]) -> Sequence[str]:
        return items[:: self.every]

    def url(self, host: str) -> str:
        """To that host, or to that address."""
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"{self.scheme}://{host}:8443{'' if self.setting else '/'}"


BUCKET = {"s3_bucket": "bucket", "s3_access_key": "a", "s3_secret_key": "b", "s3_timeout": 0.3}
WAYS = [
    Way("http", "https", lambda url: ("$http_do", [{"url": url}]), redirects=True),
    Way("http", "https", lambda url: ("$http_do_server", [{"url": url}]), redirects=True),
    Way("ws", "wss", lambda url: ("$ws_connect", [{"url": url}]), redirects=True),
    Way("mqtt", "mqtts", lambda url: ("$mqtt_publish", ["a/b", ""]), setting="broker"),
    Way(
        "files", "https", lambda url: ("$file_get", ["/x"]), setting="s3_endpoint", prefix="s3_",
        dangerous="dangerous_s3_mode", profile='filesystem = "s3"', more=BUCKET, every=11,
    ),
]  # fmt: skip


class Outside:
    """Calls of one way, each in a kernel with the settings that it names, and what they connected to."""

    def __init__(self, way: Way, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.way = way
        self.connected: list[Any] = []
        self.let: Callable[[Any], bool] = lambda address: False
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._kernels: dict[str, Kernel] = {}
        self._count = 0

    async def error(self, url: str, grants: Grants = ALL, **settings: Any) -> str:
        """The message of a call that has to fail; no hop of it may have gone out. `connected` has those that tried."""
        with watched(self.let) as self.connected:
            try:
                name, args = self.way.call(url)
                kernel = self._kernel(url, settings)
                place = Place("workspace", "app", self._folder)
                answer = await call_ffi(kernel, name, args, grants=grants, place=place)
            except MixError as exc:
                return str(exc)
        if isinstance(answer, dict):
            assert answer.keys() == {"error"}, answer
            return str(answer["error"])
        assert answer.name == "error", answer
        return str(answer.arg)

    async def refused(self, url: str, **settings: Any) -> str:
        """The same of one that may not connect to anything."""
        message = await self.error(url, **settings)
        assert self.connected == [], f"{url} was connected to"
        return message

    def name(self, *answers: Sequence[str]) -> tuple[str, Names]:
        """A URL with a name that nobody has asked for, and what it means, one time after the other."""
        self._count += 1
        host = f"good{self._count}.example"
        return self.way.url(host), self.names(**{host.replace(".", "_"): answers})

    def names(self, **names: Sequence[Sequence[str]]) -> Names:
        """What names mean from now on; a `_` stands for a dot."""
        found = Names({name.replace("_", "."): answers for name, answers in names.items()})
        self._monkeypatch.setattr(egress, "system_resolver", found)
        return found

    def _kernel(self, url: str, settings: dict[str, Any]) -> Kernel:
        way = self.way
        settings = {**way.more, **settings, **({way.setting: url} if way.setting else {})}
        if "allow_private" in settings:
            settings[f"{way.prefix}allow_private"] = settings.pop("allow_private")
        key = repr(settings)
        if key not in self._kernels:
            profile = self._folder / "way.toml"
            profile.write_text(f'plugins = ["{way.plugin}"]\nengines = []\n{way.profile}\n')
            overrides = {f"settings.{way.plugin}.{key}": value for key, value in settings.items()}
            self._kernels[key] = Kernel(profile, environ={}, overrides=overrides)
        return self._kernels[key]

    def close(self) -> None:
        while self._kernels:
            self._kernels.popitem()[1].close()


@pytest.fixture(params=WAYS, ids=repr)
def outside(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Outside]:
    made = Outside(request.param, tmp_path, monkeypatch)
    yield made
    made.close()


def test_every_plugin_that_connects_is_held_against_it() -> None:
    """Those that ask the egress check are those that connect: test_no_network shows that nothing else does."""
    asking = set()
    for name, (entry, *_) in installed().items():
        spec = find_spec(entry.value)
        assert spec is not None and spec.origin is not None
        for file in Path(spec.origin).parent.rglob("*.py"):
            if "egress.check(" in file.read_text(encoding="utf-8"):
                asking.add(name)
    # The server registers addresses of files, and connects to none of them; what it fetches itself the kernel connects.
    assert asking - {"server"} == {way.plugin for way in WAYS}


# -- where it may not go ----------------------------------------------------------------------------


async def test_addresses_that_are_not_public(outside: Outside) -> None:
    names = outside.names()
    for address in outside.way.some(NOT_PUBLIC):
        if "%" not in address:
            message = await outside.refused(outside.way.url(address))
            assert "refused" in message or outside.way.setting, message
    assert names.asked == []


async def test_spellings_of_addresses(outside: Outside) -> None:
    names = outside.names()
    for host in outside.way.some(SPELLINGS):
        await outside.refused(f"{outside.way.scheme}://{host}/")
    assert names.asked == []


async def test_urls_that_parsers_read_differently(outside: Outside) -> None:
    names = outside.names(good_example=[["8.8.8.8"]])
    for form in REFUSED:
        message = await outside.refused(form.replace("{}", outside.way.scheme))
        assert "pw" not in message
    assert names.asked == []


async def test_names_that_lead_inside(outside: Outside) -> None:
    for address in outside.way.some(NOT_PUBLIC):
        for answer in ([address], ["8.8.8.8", address], [address, "2606:4700:4700::1111"]):
            url, names = outside.name(answer)
            message = await outside.refused(url)
            assert len(set(names.asked)) == 1, "nothing else was looked up"
            assert "resolves to" in message or "refused" in message
            assert address not in message, "agents could map the network inside"


async def test_what_a_resolver_may_not_answer(outside: Outside) -> None:
    for answer in ([], ["not an address"], ["8.8.8.8", "127.1"]):
        url, _ = outside.name(answer)
        await outside.refused(url)


async def test_plain_connections(outside: Outside) -> None:
    names = outside.names(good_example=[["8.8.8.8"]])
    await outside.refused(f"{outside.way.plain}://{NAME}/")
    await outside.refused(f"{outside.way.plain}://8.8.8.8/")
    assert names.asked == []


@pytest.mark.parametrize("outside", [way for way in WAYS if not way.setting], ids=repr, indirect=True)
async def test_hosts_that_are_not_granted(outside: Outside) -> None:
    names = outside.names(good_example=[["8.8.8.8"]])
    for hosts in ([], ["*.good.example"], ["good.example:443"], ["evil.example", "8.8.8.8"]):
        grants = Grants(("*",), {f"{outside.way.plugin}.hosts": hosts})
        assert "granted hosts" in await outside.error(outside.way.url(NAME), grants)
        assert outside.connected == names.asked == []


# -- where it goes ----------------------------------------------------------------------------------


async def test_a_name_is_connected_to_at_the_addresses_that_were_checked(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment says of proxies."""
    for variable in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "WSS_PROXY",
        "https_proxy",
        "all_proxy",
        "wss_proxy",
    ):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for address in outside.way.some(PUBLIC):
        url, _ = outside.name([address])
        await outside.error(url)
        assert {found[:2] for found in outside.connected} == {(address, 8443)}
    url, _ = outside.name(PUBLIC)
    await outside.error(url)
    assert {found[0] for found in outside.connected} <= set(PUBLIC)


async def test_a_name_that_changes_what_it_means(outside: Outside) -> None:
    for answers in (
        [["8.8.8.8"], ["127.0.0.1"]],
        [["8.8.8.8"], ["8.8.8.8"], ["10.0.0.1"]],
        [["127.0.0.1"], ["8.8.8.8"]],
    ):
        url, _ = outside.name(*answers)
        await outside.error(url)
        assert {found[0] for found in outside.connected} <= {"8.8.8.8"}


async def test_what_the_operator_opens_is_open_and_nothing_beside_it(outside: Outside) -> None:
    named, _ = outside.name(["10.0.0.5"])
    for url in (named, outside.way.url("10.0.0.5")):
        await outside.error(url, allow_private=("10.0.0.5:8443",))
        assert {found[:2] for found in outside.connected} == {("10.0.0.5", 8443)}
    url, _ = outside.name(["10.0.0.5"])
    await outside.refused(url, allow_private=("10.0.0.5:443", "10.0.0.6"))
    await outside.refused(outside.way.url("10.0.0.6"), allow_private=("10.0.0.5",))
    url, _ = outside.name(["169.254.169.254"])
    await outside.refused(url, allow_private=("169.254.0.0/16",))


async def test_the_dangerous_mode_opens_addresses_but_no_spellings(outside: Outside) -> None:
    dangerous: dict[str, Any] = {outside.way.dangerous: True}
    await outside.error(f"{outside.way.plain}://127.0.0.1:9/", **dangerous)
    assert {found[:2] for found in outside.connected} == {("127.0.0.1", 9)}, "the watch sees what there is"
    await outside.refused(f"{outside.way.plain}://127.1:9/", **dangerous)


# -- where it is sent -------------------------------------------------------------------------------


class Sender:
    """A server at `home.example` that sends whoever asks to `location`."""

    def __init__(self) -> None:
        self.location = ""
        self.port = 0
        self.asked = 0

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            head = f"HTTP/1.1 307 There\r\nContent-Length: 0\r\nConnection: close\r\nLocation: {self.location}\r\n\r\n"
            writer.write(head.encode())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def serving(self, context: ssl.SSLContext) -> AsyncIterator[Sender]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize("outside", [way for way in WAYS if way.redirects], ids=repr, indirect=True)
async def test_a_peer_sends_it_nowhere_else(outside: Outside, authority: trustme.CA, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("home.example").configure_cert(context)
    async with Sender().serving(context) as sender:
        outside.let = lambda address: address[:2] == ("127.0.0.1", sender.port)
        settings: dict[str, Any] = {"allow_private": (f"127.0.0.1:{sender.port}",), "ca_file": str(ca_file)}
        home = f"{outside.way.scheme}://home.example:{sender.port}/"

        async def sent(location: str) -> str:
            sender.location = location
            return await outside.error(home, **settings)

        outside.names(
            home_example=[["127.0.0.1"]],
            good_example=[["8.8.8.8"]],
            private_example=[["10.0.0.1"]],
            mixed_example=[["8.8.8.8", "127.0.0.1"]],
            localhost=[["127.0.0.1"]],
        )
        schemes = {outside.way.scheme, "https"}
        for scheme in schemes:
            await sent(f"{scheme}://good.example:8443/")
            assert {found[:2] for found in outside.connected} == {("8.8.8.8", 8443)}, "it is followed"
        sender.asked = 0
        places = [
            f"[{address}]" if ":" in address else address for address in NOT_PUBLIC if "%" not in address
        ]
        places += [host for host in SPELLINGS if host.isascii()]
        locations = [*(f"{scheme}://{place}/" for scheme in schemes for place in places), *LOCATIONS]
        for location in locations:
            message = await sent(location)
            assert outside.connected == [], f"it went to {location}"
            assert "refused" in message or "no address" in message or "from " in message, (location, message)
            assert "10.0.0.1" not in message or "10.0.0.1" in location
            assert "pw" not in message
        assert sender.asked == len(locations), "no more than to be told where to go"
