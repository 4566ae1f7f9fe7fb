"""What one who is signed in gets of others: nothing that was not granted, by whatever they are called."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import ECKey
from mix_server.access.subject import check_subject, subjects_of
from mix_server.errors import Unauthorized
from mix_server.server import Server

from mixkit.errors import NotFound, StorageError
from mixkit.package import store
from mixkit.storage import SaveOptions

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

ENV = "/v1/ws/w/app/demo/agent/env"
_KEY = ECKey.generate_key("P-256")


@pytest.fixture
def server(make_server: Make) -> Server:
    pem = _KEY.as_pem(private=True).decode()
    made = make_server(server_key=pem, workspace_creators=["domain/example.org"])
    made.grants.add("w", "all-users", "runner", "agent/demo/env", None)
    return made


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def user(server: Server, email: str | None = None, *, seconds: float = 60, **more: Any) -> dict[str, str]:
    """Header of who has a token of the server with that address, or with these claims, of any kind."""
    claims = {"iss": "mixkit", "sub": email, "exp": time.time() + seconds} | more
    if email is not None:
        claims["email"] = email
    head = {"alg": "ES256", "kid": server.key.kid}
    return bearer(jws.serialize_compact(head, json.dumps(claims).encode(), _KEY, algorithms=["ES256"]))


# -- what somebody is called ----------------------------------------------------------------------


def test_an_address_of_other_letters_is_another_ones() -> None:
    kelvin = "\N{KELVIN SIGN}ate@example.org"
    assert subjects_of(kelvin, signed_in=True)[0] == f"user/{kelvin}"
    assert check_subject(f"user/{kelvin}") != check_subject("user/Kate@example.org")
    # All else that Unicode takes for one letter too.
    ascii = {f"user/{chr(code)}@example.org" for code in range(128) if chr(code).isalnum()}
    others = (chr(code) for code in range(128, 0x11000) if chr(code).isalnum())
    assert ascii.isdisjoint(check_subject(f"user/{char}@example.org") for char in others)


async def test_an_agent_sees_one_user_by_one_name(server: Server, connect: Connect) -> None:
    async with connect(server, None) as client:

        async def seen(**claims: Any) -> str:
            answer = await client.post(ENV, headers=user(server, **claims))
            found: str = answer.json()["user"]
            return found

        assert await seen(email="Ada@Example.org", sub="42") == "ada@example.org"
        assert await seen(email="ada+x@example.org", sub="42") == "ada+x@example.org"
        # The provider's own name of a user is no address, no machine, and not the operator.
        for name in ("ada@example.org", "machine/ci", "local"):
            assert await seen(sub=name) == f"sub/{name}"
            assert await seen(email="ada@example.org", email_verified=False, sub=name) == f"sub/{name}"
        assert await seen(email="machine/ci", sub="42") == "sub/42"


async def test_claims_that_are_no_text_are_refused(server: Server, connect: Connect) -> None:
    async with connect(server, None) as client:
        wrong: list[dict[str, Any]] = [{"sub": "\ud800x"}, {"sub": "42", "email": "\ud800x@example.org"}]
        for claims in wrong:
            for path in (ENV, "/v1/auth/token"):
                assert (await client.post(path, headers=user(server, **claims))).status_code == 401, claims


# -- what somebody may know of --------------------------------------------------------------------


async def test_who_may_see_a_part_sees_no_others(server: Server, connect: Connect) -> None:
    server.grants.remove("w", [grant.id for grant in server.grants.of("w")])
    server.store.workspace("w").create_app("other")
    server.grants.add("w", "user/ada@example.org", "runner", "agent/demo/echo", None)
    server.grants.add("w", "user/bob@example.org", "editor", "db/other", None)
    server.grants.add("w", "user/eve@example.org", "runner", "workspace", None)
    async with connect(server, None) as client:
        everything = await client.get("/v1/ws/w/app/demo", headers=user(server, "eve@example.org"))
        agents = [each["name"] for each in everything.json()["agents"]]
        assert len(agents) > 1
        for email, apps, names in (
            ("ada@example.org", ["demo"], ["echo"]),
            ("bob@example.org", ["other"], None),
            ("eve@example.org", ["demo", "other"], agents),
        ):
            who = user(server, email)
            for path in ("/v1/ws/w", "/ws/w"):
                assert (await client.get(path, headers=who)).json() == {"name": "w", "apps": apps}
            app = await client.get("/v1/ws/w/app/demo", headers=who)
            found = [each["name"] for each in app.json()["agents"]] if app.status_code == 200 else None
            assert found == names


async def test_as_much_is_done_for_a_name_that_is_not_there(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that an answer takes is no way to learn which workspaces there are."""
    server.grants.remove("w", [grant.id for grant in server.grants.of("w")])
    looked: list[str] = []
    opened, made = server.kernel.files.open, store.Workspace

    def seen(place: Any) -> Any:
        looked.append(place.workspace)
        return opened(place)

    class Made(made):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any) -> None:
            looked.append("made")
            super().__init__(*args)

    async with connect(server, None) as client:

        async def done_for(name: str, method: str, **headers: str) -> int:
            looked.clear()
            url = f"/v1/ws/{name}/app/demo/files/public/none"
            for who in ({}, user(server, "eve@example.org")):
                assert (await client.request(method, url, headers=headers | who)).status_code == 404
                assert (await client.get(f"/v1/ws/{name}", headers=who)).status_code in (401, 404)
            return len(looked)

        assert (await client.get("/v1/ws/w/app/demo/files/public/none")).status_code == 404
        monkeypatch.setattr(server.kernel.files, "open", seen)
        monkeypatch.setattr(store, "Workspace", Made)
        for method, headers in (("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=0-1"})):
            assert await done_for("w", method, **headers) == await done_for("nothing", method, **headers) > 0
    assert sorted(path.name for path in server.store.root.iterdir() if path.name[0] != ".") == ["w"]


async def test_as_much_is_looked_at_for_a_signal_of_a_workspace_that_is_not_there(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    signals = store.Workspace.signals

    def seen(self: Any, *, make: bool = True) -> Any:
        looked.append(self.name)
        return signals(self, make=make)

    async with connect(server, None) as client:
        server.store.create("empty")
        server.grants.add("w", "user/ada@example.org", "runner", "workspace", None)
        ada, eve = user(server, "ada@example.org"), user(server, "eve@example.org")
        made = await client.post("/v1/signals", json={"ws": "w"}, headers=ada)
        id = made.json()["id"]
        monkeypatch.setattr(store.Workspace, "signals", seen)
        grants = [grant.id for grant in server.grants.of("w") if grant.subject == "all-users"]
        server.grants.remove("w", grants)
        # Whoever may not see the workspace has nothing opened, not even for a signal that there is.
        for who in ({}, eve):
            for name in ("w", "empty", "none", "-"):
                for method in ("GET", "DELETE"):
                    answer = await client.request(method, f"/v1/signals/{name}.{id[2:]}", headers=who)
                    assert (answer.status_code, looked) == (404, [])
        assert (await client.get(f"/v1/signals/{id}", headers=ada)).status_code == 200
        assert looked
        # Whoever knows an id may settle it, so all may ask: one database is looked into, whatever it is.
        for who in ({}, eve, ada):
            for name in ("w", "empty", "none", "-"):
                looked.clear()
                answer = await client.post(f"/v1/signals/{name}.{'0' * 32}", json=1, headers=who)
                assert (answer.status_code, looked[-1:]) == (404, ["w"])
        assert (await client.post(f"/v1/signals/{id}", json=1, headers=eve)).status_code == 204


def test_grants_of_no_workspace_are_looked_up_as_those_of_one(server: Server) -> None:
    grants = server.grants
    assert grants.look("w") is grants.at_hand("w") is grants.of("w")
    for name in ("none", "-", "..", "w/../w", "x" * 100):
        assert grants.look(name) is grants.at_hand(name) is not None
        assert not list(grants.look(name))
        with pytest.raises(NotFound):
            grants.of(name)
    server.store.delete("w")
    assert not list(grants.look("w")) and grants.look("w") is grants.at_hand("w")


# -- wishes that are none -------------------------------------------------------------------------


async def test_an_empty_text_is_not_taken_for_all(server: Server, connect: Connect, token: str) -> None:
    async with connect(server, token) as client:
        before = (await client.get("/v1/ws/w/permissions")).json(), (await client.get("/v1/ws")).json()
        wanted = {"subject": "all-users", "role": "admin", "resource": ""}
        for path in ("/v1/ws/w/permissions", "/grant-permission/w", "/v1/ws/w/app/demo/permissions"):
            refused = await client.post(path, json=wanted)
            assert (refused.status_code, "expected the resource" in refused.text) == (400, True), path
        rights = {"name": "ci", "rights": [{"role": "admin", "resource": ""}]}
        assert (await client.post("/v1/ws/w/tokens", json=rights)).status_code == 400
        assert (await client.post("/v1/ws", json={"name": ""})).status_code == 400
        assert (
            (await client.get("/v1/ws/w/permissions")).json(),
            (await client.get("/v1/ws")).json(),
        ) == before


async def test_a_workspace_has_its_owner_or_is_not_made(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise StorageError("the disk is full")

    ada = user(server, "ada@example.org")
    async with connect(server, None) as client:
        with monkeypatch.context() as patch:
            patch.setattr(server.grants, "own", fail)
            assert (await client.post("/v1/ws", json={"name": "hers"}, headers=ada)).status_code == 503
        assert "hers" not in server.store.list()
        assert (await client.post("/v1/ws", json={"name": "hers"}, headers=ada)).status_code == 201
        assert server.grants.of("hers").owner == "user/ada@example.org"


# -- what was stolen ------------------------------------------------------------------------------


async def test_what_is_given_for_a_token_ends_with_it(server: Server, connect: Connect) -> None:
    end = int(time.time()) + 100
    async with connect(server, None) as client:
        ada = user(server, "ada@example.org", exp=end)
        for _ in range(2):
            made = await client.post("/v1/auth/token", headers=ada)
            assert made.json()["until"] <= end
            begun = await client.post("/v1/auth/session", headers=ada)
            assert begun.json()["until"] <= end
            ada = bearer(made.json()["token"])
        # By the cookie of the session.
        for path in ("/v1/auth/token", "/v1/auth/session"):
            assert (await client.post(path)).json()["until"] <= end


async def test_a_session_of_the_operator_is_not_renewed_by_itself(
    server: Server, connect: Connect, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect(server, None) as client:
        begun = await client.post("/v1/auth/session", headers=bearer(token))
        assert begun.json()["seconds"] == 12 * 3600
        later = time.time() + 3600
        monkeypatch.setattr(time, "time", lambda: later)
        assert (await client.post("/v1/auth/session")).json()["until"] <= begun.json()["until"]


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ({}, False),
        ({"X-Forwarded-Proto": "https"}, True),
        ({"Forwarded": "for=192.0.2.1;proto=https"}, True),
        ({"Origin": "https://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "http://127.0.0.1:8000"}, False),
    ],
)
async def test_a_session_behind_a_proxy_is_for_tls_only(
    server: Server, connect: Connect, token: str, headers: dict[str, str], secure: bool
) -> None:
    async with connect(server, token) as client:
        begun = await client.post("/v1/auth/session", headers=headers)
        (cookie,) = begun.headers.get_list("Set-Cookie")
        assert ("secure" in cookie.lower().split("; ")) is secure
        # A browser takes one with the prefix from this host alone.
        assert cookie.startswith("__Host-mixkit_session=" if secure else "mixkit_session=")
        assert "domain" not in cookie.lower() and "Path=/" in cookie
        ended = await client.delete("/v1/auth/session", headers=headers)
        forgotten = ended.headers.get_list("Set-Cookie")
        assert [each.partition("=")[0] for each in forgotten] == ["__Host-mixkit_session", "mixkit_session"]
        assert all("expires=Thu, 01 Jan 1970" in each for each in forgotten)
        assert "Secure" in forgotten[0].split("; ")


async def test_a_cookie_that_another_host_added_is_not_taken(server: Server, connect: Connect) -> None:
    async with connect(server, None) as client:
        values = []
        for email in ("ada@example.org", "eve@example.org"):
            await client.post("/v1/auth/session", headers=user(server, email))
            values.append(client.cookies["mixkit_session"])
            client.cookies.clear()
        for found, status in ((values[:1], 200), (values[:1] * 2, 200), (values, 401), (values[::-1], 401)):
            cookie = "; ".join(f"mixkit_session={value}" for value in found)
            assert (await client.post(ENV, headers={"Cookie": cookie})).status_code == status


async def test_over_tls_no_other_host_of_the_domain_chooses_the_session(
    make_server: Make, connect: Connect
) -> None:
    pem = _KEY.as_pem(private=True).decode()
    server = make_server(server_key=pem)
    public = make_server(server_key=pem, base_url="https://agents.example.com")
    server.grants.add("w", "all-users", "runner", "agent/demo/env", None)
    async with connect(server, None) as client, connect(public, None) as named:
        ada = await client.post("/v1/auth/session", headers=user(server, "ada@example.org"))
        own = client.cookies["mixkit_session"]
        await client.post("/v1/auth/session", headers=user(server, "eve@example.org"))
        eve = client.cookies["mixkit_session"]
        client.cookies.clear()
        assert ada.status_code == 200
        tls = {"X-Forwarded-Proto": "https"}
        for asked, cookie, headers, found in (
            (client, f"mixkit_session={eve}", {}, "eve@example.org"),
            (client, f"mixkit_session={eve}", tls, None),
            (named, f"mixkit_session={eve}", {}, None),
            (client, f"__Host-mixkit_session={own}; mixkit_session={eve}", tls, "ada@example.org"),
            (client, f"__Host-mixkit_session={own}; mixkit_session={eve}", {}, "ada@example.org"),
            (named, f"__Host-mixkit_session={own}; mixkit_session={eve}", {}, "ada@example.org"),
        ):
            answer = await asked.post(ENV, headers={"Cookie": cookie, **headers})
            assert answer.status_code == (200 if found else 401), (cookie, headers)
            assert found is None or answer.json()["user"] == found
        # Whoever is in between can be any host without TLS.
        secure = {"Cookie": f"__Host-mixkit_session={own}", **tls}
        for origin, status in (("http://127.0.0.1:8000", 403), ("https://127.0.0.1:8000", 200)):
            assert (await client.post(ENV, headers={**secure, "Origin": origin})).status_code == status


async def test_what_a_session_is_known_by_is_no_token(server: Server, connect: Connect) -> None:
    async with connect(server, None) as client:
        await client.post("/v1/auth/session", headers=user(server, "ada@example.org"))
        value = client.cookies["mixkit_session"]
        assert (await client.post(ENV)).status_code == 200
        client.cookies.clear()
        for token in (value, f"\0{value}", f"\1{value}"):
            with pytest.raises(Unauthorized):
                await server.authorizer._user(token)  # type: ignore[attr-defined]


# -- what was there before ------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["mix_db.testing.plain:PlainStorage", "mix_db.storages:Mixquery"])
async def test_an_app_that_is_made_again_has_no_grants(server: Server, connect: Connect, token: str) -> None:
    op = bearer(token)
    async with connect(server, None) as client:
        # What is granted before there is an app holds for the first one.
        for email, resource in (
            ("bob", "db/again"),
            ("eve", "agent/again/x"),
            ("ann", "workspace"),
            ("ida", "db/againe"),
        ):
            server.grants.add("w", f"user/{email}@example.org", "editor", resource, None)
        bob = user(server, "bob@example.org")
        wanted = {"name": "ci", "rights": [{"role": "editor", "resource": "db/again"}]}
        machine = bearer((await client.post("/v1/ws/w/tokens", json=wanted, headers=op)).json()["token"])
        for expected in (200, 404):
            assert (await client.put("/v1/ws/w/app/again", headers=op)).status_code == 201
            for who in (bob, machine):
                assert (await client.get("/v1/ws/w/app/again/documents", headers=who)).status_code == expected
            assert (await client.delete("/v1/ws/w/app/again", headers=op)).status_code == 204
        left = {grant.subject for grant in server.grants.of("w")}
        assert left == {"all-users", "user/ann@example.org", "user/ida@example.org"}


async def test_a_machine_may_what_everybody_may(server: Server, connect: Connect, token: str) -> None:
    server.grants.add("w", "anonymous", "runner", "agent/demo/echo", None)
    async with connect(server, None) as client:
        wanted = {"name": "ci", "rights": [{"role": "runner", "resource": "db/other"}]}
        made = (await client.post("/v1/ws/w/tokens", json=wanted, headers=bearer(token))).json()
        for agent, status in (("echo", 200), ("env", 404)):
            path = f"/v1/ws/w/app/demo/agent/{agent}"
            assert (await client.post(path, headers=bearer(made["token"]))).status_code == status
            why = await client.get(
                "/v1/ws/w/permissions",
                params={
                    "explain": "run",
                    "subject": f"machine/{made['id']}",
                    "resource": f"agent/demo/{agent}",
                },
                headers=bearer(token),
            )
            assert why.json()["allowed"] is (status == 200)


# -- what is asked about workspaces ---------------------------------------------------------------


async def test_of_a_workspace_that_is_not_there_nothing_is_read_or_kept(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = user(server, "ada@example.org")
    async with connect(server, None) as client:
        assert (await client.post("/v1/ws", json={"name": "hers"}, headers=ada)).status_code == 201
        assert (await client.get("/v1/ws/hers", headers=ada)).status_code == 200
        assert "hers" in server.grants._glances
        server.store.delete("hers")
        hops = 0
        to_thread = asyncio.to_thread

        async def counted(*args: Any) -> Any:
            nonlocal hops
            hops += 1
            return await to_thread(*args)

        assert (await client.get("/v1/ws/w", headers=ada)).status_code == 200
        monkeypatch.setattr("mix_server.access.accounts.asyncio.to_thread", counted)
        # One that may not be seen and one that is not there are answered on the same way.
        for name in ("w/tokens", "hers", "none", "no%20name"):
            assert (await client.get(f"/v1/ws/{name}", headers=ada)).status_code in (403, 404)
        assert hops == 0
        assert set(server.grants._glances) == {"w"}


async def test_a_workspace_that_cannot_be_read_keeps_nobody_from_others(
    server: Server, connect: Connect
) -> None:
    ada = user(server, "ada@example.org")
    async with connect(server, None) as client:
        for name in ("broken", "hers"):
            assert (await client.post("/v1/ws", json={"name": name}, headers=ada)).status_code == 201
        with server.store.workspace("broken").writing() as database:
            record = {"_rmx_id": "grant:bad", "_rmx_type": "grant", "subject": "all-users", "role": "king"}
            database.save([record], SaveOptions(original_id_always=True))
        for who, seen in ((ada, ["hers", "w"]), (user(server, "bob@example.org"), ["w"])):
            assert (await client.get("/v1/ws", headers=who)).json() == {"workspaces": seen}
        refused = await client.get("/v1/ws/broken", headers=ada)
        assert (refused.status_code, "king" in refused.text) == (503, False)
