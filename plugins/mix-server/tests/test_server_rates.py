"""How often each caller may ask: counted for each alone, told in headers, shared by processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from mix_server.caller import Caller, Permission, Resource
from mix_server.errors import Unauthorized
from mix_server.rates import _SLOTS, Rates, TooOften, bucket_of
from mix_server.server import Server

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class ByHeader:
    """Who asks stands in a header."""

    async def authorize(self, request: Any) -> Caller:
        user = request.get_header("X-User")
        if user == "nobody":
            raise Unauthorized("who?")
        if user is None:
            return Caller(None, ("anonymous",))
        return Caller(user, (f"user/{user}",), operator=user == "operator")

    async def ready(self, subject: Caller, workspace: str) -> None:
        pass

    def may(self, subject: Caller, permission: Permission, resource: Resource) -> bool:
        return True


def test_a_bucket_is_filled_as_time_passes() -> None:
    rates = Rates(rate=2, burst=4)
    assert [rates.look("a", 10.0).requests for _ in range(4)] == [3, 2, 1, 0]
    left = rates.look("a", 10.0)
    assert (left.requests, left.wait) == (0, pytest.approx(0.5))
    # One that is refused takes nothing.
    assert rates.look("a", 10.49).wait == pytest.approx(0.01)
    assert rates.look("a", 10.5).wait == 0
    assert rates.look("a", 10.5).wait == pytest.approx(0.5)
    assert rates.look("b", 10.5).requests == 3
    assert rates.look("a", 100.0).requests == 3


def test_there_is_room_for_many_callers_and_others_push_nobody_out_who_asks() -> None:
    rates = Rates(rate=1, burst=2)
    busy = [f"user/{number}" for number in range(_SLOTS // 64)]
    for name in busy:
        assert rates.look(name, 10.0).wait == rates.look(name, 10.0).wait == 0
    assert sum(rates.look(name, 10.0).wait == 0 for name in busy) == 0
    for number in range(_SLOTS // 4):
        rates.look(f"address/{number}", 10.0)
    # Those that asked most are full last, so they stay: all but a few.
    assert sum(rates.look(name, 10.0).wait == 0 for name in busy) < len(busy) / 100


def test_processes_count_together() -> None:
    rates = Rates(rate=0.001, burst=3)
    for _ in range(2):
        pid = os.fork()
        if not pid:
            try:
                rates.take("a")
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
    assert rates.take("a")["RateLimit"].startswith('"caller";r=0;')
    with pytest.raises(TooOften) as caught:
        rates.take("a")
    assert 0 < int(caught.value.headers["Retry-After"]) <= 1_000


def test_whose_bucket_it_is() -> None:
    class Asked:
        def __init__(self, address: str | None) -> None:
            self.scope = {"client": None if address is None else (address, 1)}

    def bucket(address: str | None, caller: Caller | None = None) -> str | None:
        return bucket_of(Asked(address), caller)  # type: ignore[arg-type]

    user = Caller("ann@example.org", ("user/ann@example.org", "all-users"))
    assert bucket("192.0.2.1", user) == bucket("192.0.2.2", user) == "user/ann@example.org"
    assert bucket("192.0.2.1", Caller(None, ("machine/1",))) == "machine/1"
    # Users without an address are the same subject, and not the same caller.
    one, other = (bucket("192.0.2.1", Caller(f"sub/{n}", ("all-users", "anonymous"))) for n in (1, 2))
    assert one != other and not {one, other} & {bucket("192.0.2.1"), "all-users", None}
    assert bucket("192.0.2.1") == bucket("192.0.2.1", Caller(None, ("anonymous",))) != bucket("192.0.2.2")
    assert bucket("2001:db8::1") == bucket("2001:db8::ffff:1") != bucket("2001:db8:1::1")
    assert bucket("192.0.2.1", Caller(None, operator=True)) is None
    assert bucket(None) == "address/"


async def test_each_caller_is_counted_alone(make_server: Make, connect: Connect) -> None:
    server = make_server(rate_limit=0.01, rate_burst=3)
    server.authorizer = ByHeader()
    async with connect(server, None) as client:

        async def ask(user: str | None, path: str = "/v1/ws") -> httpx.Response:
            return await client.get(path, headers={} if user is None else {"X-User": user})

        first = await ask("ann")
        assert first.headers["RateLimit-Policy"] == '"caller";q=3;w=300'
        assert first.headers["RateLimit"] == '"caller";r=2;t=100'
        # A path that is not there counts as well.
        assert [(await ask("ann", path)).status_code for path in ("/v1/ws/none", "/v1/ws")] == [404, 200]
        for path in ("/v1/ws", "/v1/ws/none", "/openapi.json"):
            refused = await ask("ann", path)
            assert refused.status_code == 429
            assert 0 < int(refused.headers["Retry-After"]) <= 100
            assert refused.headers["RateLimit"].startswith('"caller";r=0;')
        assert (await ask("ben")).status_code == 200
        assert [(await ask("operator")).status_code for _ in range(9)] == [200] * 9
        assert "RateLimit" not in (await ask("operator")).headers
        assert [(await ask("ann", "/healthz")).status_code for _ in range(9)] == [200] * 9

        # Who is not known has the bucket of the address, with whom is refused and whoever reads what is for everybody.
        asked = [await ask("nobody"), await ask(None), await ask(None, "/v1/ws/w/app/demo/files/public/none")]
        assert [answer.status_code for answer in asked] == [401, 200, 404]
        assert [(await ask(user)).status_code for user in ("nobody", None)] == [429, 429]
        assert (await ask(None, "/v1/ws/w/app/demo/files/public/none")).status_code == 429


async def test_who_is_known_is_counted_alone_wherever_they_ask(make_server: Make, connect: Connect) -> None:
    """Also where everybody may ask, and where this one may not."""
    server = make_server(rate_limit=0.01, rate_burst=2)
    ann = server.key.token("ann@example.org", "ann@example.org", 600)[0]
    async with connect(server, None) as client:

        async def ask(path: str, token: str | None) -> int:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            return (await client.get(path, headers=headers)).status_code

        paths = (
            "/v1/ws/w/app/demo/files/public/none",
            "/v1/ws/hidden",
            "/v1/subscribe/$app/x?ws=w&app=demo",
            "/v1/signals/w.0",
        )
        # The address has nothing left.
        assert [await ask(paths[0], token) for token in (None, "nobody's", None)] == [404, 404, 429]
        for number, path in enumerate(paths):
            user = server.key.token(f"{number}@example.org", f"{number}@example.org", 600)[0]
            assert [await ask(path, user) for _ in range(3)] == [404, 404, 429], path
        assert [await ask(paths[0], ann), await ask(paths[1], ann), await ask(paths[0], ann)] == [
            404,
            404,
            429,
        ]


async def test_without_a_limit_nothing_is_told(client: httpx.AsyncClient) -> None:
    began = time.monotonic()
    answers = [await client.get("/v1/ws") for _ in range(200)]
    assert {answer.status_code for answer in answers} == {200}, time.monotonic() - began
    assert "RateLimit" not in answers[-1].headers
