"""Third-party sign-in: what is configured, begun, come back with, kept; and everything that is refused on the way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from mix_server.errors import BadRequest
from mix_server.server import Server
from mix_server.sign_in import flow
from mix_server.sign_in.account import account_of
from mix_server.sign_in.errors import ProviderFailed
from mix_server.sign_in.paths import own_path

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

CONFIG = "/v1/ws/w/auth-configs/idp"
START = "/v1/auth/w/idp/start"
BACK = "/v1/auth/w/idp/callback"
ACCOUNTS = "/v1/ws/w/accounts"


@pytest.fixture
def server(make_server: Make) -> Server:
    return make_server(provider_plain=True)


@pytest.fixture
def signed(server: Server, connect: Connect, idp: Any) -> Callable[..., Any]:
    """Clients of the server, with the provider configured; as a user with an own session if one is named."""

    @asynccontextmanager
    async def signed(**changes: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with connect(server) as client:
            done = await client.put(CONFIG, json=idp.config(**changes))
            assert done.status_code == 201, done.text
            yield client

    return signed


async def begun(client: httpx.AsyncClient, **query: str) -> str:
    """Where the browser is sent."""
    answer = await client.get(START, params=query)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def connected(client: httpx.AsyncClient, idp: Any) -> None:
    answer = await client.get(BACK, params=idp.consent(await begun(client)))
    assert answer.status_code == 200, answer.text


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def message(answer: httpx.Response) -> str:
    text: str = answer.json()["message"]
    return text


# -- configurations -------------------------------------------------------------------------------


async def test_a_provider_is_configured_and_never_shows_its_secret(
    server: Server, connect: Connect, idp: Any, ws_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with connect(server) as client:
        assert (await client.get("/v1/ws/w/auth-configs")).json() == {"configs": []}
        assert (await client.get(CONFIG)).status_code == 404
        config = idp.config(authorization_parameters={"access_type": "offline"})
        made = await client.put(CONFIG, json=config)
        assert (made.status_code, made.headers["location"]) == (201, CONFIG)
        expected = {key: value for key, value in config.items() if key != "client_secret"}
        assert made.json() == {"name": "idp", "has_secret": True, **expected}
        assert (await client.get(CONFIG)).json() == made.json()
        assert (await client.get("/v1/ws/w/auth-configs")).json() == {"configs": [made.json()]}
        # Nobody who cannot read it can have it sent elsewhere.
        kept = {**expected, "scopes": ["openid"]}
        assert (await client.put(CONFIG, json=kept)).json()["has_secret"] is True
        for change in ({"client_id": "other"}, {"token_endpoint": "https://elsewhere.example/token"}):
            refused = await client.put(CONFIG, json={**kept, **change})
            assert refused.status_code == 400 and "client_secret" in message(refused)
        none = await client.put(CONFIG, json={**kept, "client_auth": "none"})
        assert none.json()["has_secret"] is False
        assert (await client.delete(CONFIG)).status_code == 204
        assert (await client.delete(CONFIG)).status_code == 404
    found = on_disk(ws_dir)
    assert config["client_secret"].encode() not in found and config["client_secret"] not in caplog.text


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no client": ({"client_id": None}, "client_id"),
    "kind": ({"kind": "saml"}, "saml"),
    "unknown key": ({"client": "x"}, "client"),
    "plain http": ({"issuer": "http://idp.example"}, "expected https"),
    "private": ({"issuer": "https://169.254.169.254"}, "issuer"),
    "no URL": ({"issuer": "idp.example"}, "issuer"),
    "user in URL": ({"discovery": "https://a:b@idp.example/"}, "discovery"),
    "fragment": ({"token_endpoint": "https://idp.example/#x"}, "fragment"),
    "no openid": ({"scopes": ["email"]}, "openid"),
    "no issuer": ({"issuer": None}, "issuer"),
    "two scopes in one": ({"scopes": ["openid email"]}, "scopes"),
    "our parameter": ({"authorization_parameters": {"state": "x"}}, "state"),
    "redirect": ({"authorization_parameters": {"redirect_uri": "https://e"}}, "redirect_uri"),
    "grant": ({"token_parameters": {"grant_type": "password"}}, "grant_type"),
    "no endpoints": ({"kind": "oauth2", "issuer": None}, "authorization_endpoint"),
    "no secret": ({"client_auth": "post", "client_secret": None}, "client_secret"),
    "a secret too many": ({"client_auth": "none"}, "client_secret"),
    "secret of two lines": ({"client_secret": "a\nb"}, "client_secret"),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_cannot_work_is_refused(make_server: Make, connect: Connect, case: str) -> None:
    changes, expected = BAD[case]
    config = {
        "kind": "oidc",
        "issuer": "https://idp.example",
        "client_id": "c",
        "client_secret": "s",
        "scopes": ["openid"],
    } | changes
    async with connect(make_server()) as client:
        given = {key: value for key, value in config.items() if value is not None}
        answer = await client.put(CONFIG, json=given)
        assert answer.status_code == 400, case
        assert expected in message(answer)
        assert (await client.put("/v1/ws/w/auth-configs/a.b", json=given)).status_code == 400
        assert (await client.get("/v1/ws/w/auth-configs")).json() == {"configs": []}


# -- the way there and back -----------------------------------------------------------------------


async def test_an_account_is_connected(server: Server, signed: Any, idp: Any) -> None:
    async with signed(authorization_parameters={"access_type": "offline"}) as client:
        before = await client.get(ACCOUNTS)
        assert before.json() == {"accounts": [{"provider": "idp", "connected": False}]}
        answer = await client.get(START, params={"then": "/admin/?tab=accounts#idp"})
        assert answer.status_code == 303 and answer.headers["cache-control"] == "no-store"
        url = urlsplit(answer.headers["location"])
        assert f"{url.scheme}://{url.netloc}{url.path}" == f"{idp.url}/authorize"
        asked = {key: values[0] for key, values in parse_qs(url.query).items()}
        assert {
            "tenant": "1",
            "access_type": "offline",
            "client_id": "mixkit tests",
            "scope": "openid email",
            "redirect_uri": f"http://127.0.0.1:8000{BACK}",
        }.items() <= asked.items()
        (cookie,) = answer.headers.get_list("set-cookie")
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
        back = idp.consent(answer.headers["location"])
        done = await client.get(BACK, params=back)
        assert (done.status_code, done.headers["location"]) == (303, "/admin/?tab=accounts#idp")
        (account,) = (await client.get(ACCOUNTS)).json()["accounts"]
        assert account.pop("expires") > time.time() + 3000
        assert account == {
            "provider": "idp",
            "connected": True,
            "subject": "42",
            "email": "ada@example.org",
            "name": "Ada",
            "scopes": ["openid", "email"],
        }
        root = server.store.workspace("w").root
        token = await server.tokens.token(root, "w", "local", "idp")
        assert token in idp._access
        assert await server.tokens.token(root, "w", "bob@example.org", "idp") is None
        # Once more is once too much.
        assert (await client.get(BACK, params=back)).status_code == 400
        assert idp.grants == {"authorization_code": 1}
        assert (await client.delete(f"{ACCOUNTS}/idp")).status_code == 204
        assert (await client.delete(f"{ACCOUNTS}/idp")).status_code == 404
        assert await server.tokens.token(root, "w", "local", "idp") is None


async def test_a_provider_is_told_of_an_account_that_is_let_go(
    server: Server, signed: Any, idp: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def let_go(client: httpx.AsyncClient) -> list[dict[str, str]]:
        """What the provider was told meanwhile."""
        await connected(client, idp)
        before = len(idp.requests)
        assert (await client.delete(f"{ACCOUNTS}/idp")).status_code == 204
        assert [each["connected"] for each in (await client.get(ACCOUNTS)).json()["accounts"]] == [False]
        told: list[dict[str, str]] = idp.requests[before:]
        return told

    async with signed() as client:
        (told,) = await let_go(client)
        assert told["token_type_hint"] == "refresh_token"
        assert idp._refresh[told["token"]][0] in idp.revoked
        activity = (await client.get("/v1/ws/w/activities?kind=revoke")).json()["activities"][0]
        assert activity["about"] == {"account": "idp", "revoked": True}
        # Without one to refresh by it is the access token.
        idp.more = {"refresh_token": ""}
        (told,) = await let_go(client)
        assert (told["token_type_hint"], told["token"] in idp._access) == ("access_token", False)
        # It is let go here, whatever the provider says, and none is told that does not want to know.
        await connected(client, idp)
        idp.answers = [503]
        assert (await client.delete(f"{ACCOUNTS}/idp")).status_code == 204
        assert "cannot revoke the tokens of 'idp'" in caplog.text
        assert (await client.delete(f"{ACCOUNTS}/idp")).status_code == 404
        idp.metadata = {"revocation_endpoint": None}
        server.tokens.metadata._kept.clear()
        assert await let_go(client) == []


async def test_a_provider_without_openid(server: Server, signed: Any, idp: Any) -> None:
    idp.said = {"id": 7, "login": "ada", "profile": {"mail": "ada@example.org"}}
    changes = {
        "kind": "oauth2",
        "issuer": None,
        "authorization_endpoint": f"{idp.url}/authorize",
        "token_endpoint": f"{idp.url}/token",
        "userinfo_endpoint": f"{idp.url}/userinfo",
        "client_auth": "post",
        "scopes": [],
        "userinfo": {"subject": "id", "name": "login", "email": "profile.mail"},
    }
    idp.lifetime = "1800"
    idp.more = {"scope": "repo gist"}
    async with signed(**changes) as client:
        await connected(client, idp)
        (account,) = (await client.get(ACCOUNTS)).json()["accounts"]
        assert account["scopes"] == ["repo", "gist"]
        assert (account["subject"], account["name"], account["email"]) == ("7", "ada", "ada@example.org")
        assert 1_000 < account["expires"] - time.time() < 1_801
        assert idp.requests[-1]["client_id"] == "mixkit tests"


async def test_a_callback_that_comes_many_times_is_done_once(signed: Any, idp: Any, server: Server) -> None:
    idp.pause = 0.05
    async with signed() as client:
        back = idp.consent(await begun(client))
        answers = await asyncio.gather(*(client.get(BACK, params=back) for _ in range(10)))
        assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9
        assert idp.grants == {"authorization_code": 1}


async def test_what_is_not_of_this_browser_or_sign_in_is_refused(
    signed: Any, idp: Any, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with signed() as client:
        await client.put("/v1/ws/w/auth-configs/other", json=idp.config())
        back = idp.consent(await begun(client))
        jar = list(client.cookies.jar)

        async def refused(params: dict[str, str], path: str = BACK, expected: int = 400) -> str:
            answer = await client.get(path, params=params)
            assert answer.status_code == expected, (params, path)
            return message(answer)

        # Another browser; another one's cookie; a state that is none, of another provider, or of another workspace.
        client.cookies.clear()
        assert "another browser" in await refused(back)
        client.cookies.set(jar[0].name, "x" * 43, domain="127.0.0.1", path="/")
        assert "another browser" in await refused(back)
        client.cookies.clear()
        for cookie in jar:
            client.cookies.jar.set_cookie(cookie)
        unknown = await refused({**back, "state": back["state"][:-2] + "AA"})
        for state in ("", "x", "é", "A" * 5000, back["state"] + "A"):
            assert await refused({**back, "state": state}) == unknown
        assert await refused(back, "/v1/auth/w/other/callback") == unknown
        assert await refused(back, "/v1/auth/none/idp/callback") == unknown
        assert await refused({"code": back["code"]}) == unknown
        both = await client.get(f"{BACK}?code=a&code=b&state={back['state']}")
        assert both.status_code == 400
        # None of it has used it up.
        assert (await client.get(BACK, params=back)).status_code == 200
        assert idp.grants == {"authorization_code": 1}
    assert "is refused" in caplog.text and back["code"] not in caplog.text


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"iss": None}, 400),
        ({"iss": "https://evil.example"}, 400),
        ({"code": None}, 400),
        ({"code": "made up"}, 502),
        ({"error": "access_denied", "code": None}, 403),
        ({"error": "<script>é", "code": None}, 403),
    ],
)
async def test_answers_of_providers_that_connect_nothing(
    signed: Any, idp: Any, change: dict[str, Any], status: int
) -> None:
    async with signed() as client:
        where = await begun(client)
        answer = await client.get(BACK, params=idp.consent(where, **change))
        assert answer.status_code == status, answer.text
        assert "script" not in answer.text
        # It has come to its end, and is not to be tried again with another answer.
        assert (await client.get(BACK, params=idp.consent(where))).status_code == 400
        assert (await client.get(ACCOUNTS)).json()["accounts"][0]["connected"] is False


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"aud": "another client"}, "audience"),
        ({"aud": ["mixkit tests", "another"]}, "azp"),
        ({"azp": "another"}, "azp"),
        ({"at_hash": "AAAA"}, "at_hash"),
        ({"exp": 1}, "expired"),
        ({"sub": None}, "sub"),
    ],
)
async def test_id_tokens_that_are_refused(signed: Any, idp: Any, what: dict[str, Any], expected: str) -> None:
    idp.claims = what
    async with signed() as client:
        answer = await client.get(BACK, params=idp.consent(await begun(client)))
        assert answer.status_code == 502 and expected in message(answer)
        assert (await client.get(ACCOUNTS)).json()["accounts"][0]["connected"] is False


async def test_an_id_token_by_a_key_that_is_new(
    signed: Any, idp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from joserfc.jwk import ECKey
    from mix_server.sign_in import metadata

    async with signed() as client:
        await connected(client, idp)
        idp.key = ECKey.generate_key("P-256", {"kid": "one"})
        # The old key has that name too, so nothing says that it is another one.
        answer = await client.get(BACK, params=idp.consent(await begun(client)))
        assert answer.status_code == 502
        monkeypatch.setattr(metadata, "_AGE", -1.0)
        await connected(client, idp)


async def test_userinfo_of_somebody_else(signed: Any, idp: Any) -> None:
    idp.said = {"sub": "43", "email": "eve@example.org"}
    async with signed() as client:
        answer = await client.get(BACK, params=idp.consent(await begun(client)))
        assert answer.status_code == 502 and "somebody else" in message(answer)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"issuer": "https://evil.example"}, "issuer"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "authorization_endpoint"),
        ({"token_endpoint": "https://127.1/token"}, "token_endpoint"),
        ({"jwks_uri": None}, "jwks_uri"),
        ({"token_endpoint": 7}, "token_endpoint"),
    ],
)
async def test_metadata_that_are_refused(signed: Any, idp: Any, change: Any, expected: str) -> None:
    idp.metadata = change
    async with signed() as client:
        answer = await client.get(START)
        assert answer.status_code == 502 and expected in message(answer)


async def test_a_provider_is_behind_the_egress_check(
    make_server: Make, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mixkit import egress

    async def resolver(host: str) -> list[str]:
        return ["10.1.2.3"]

    monkeypatch.setattr(egress, "system_resolver", resolver)
    async with connect(make_server()) as client:
        config = {"kind": "oidc", "issuer": "https://idp.example", "client_id": "c", "scopes": ["openid"]}
        assert (await client.put(CONFIG, json=config)).status_code == 201
        answer = await client.get(START)
        assert answer.status_code == 502 and "private" in message(answer) and "10.1.2.3" not in answer.text


async def test_a_sign_in_ends_with_its_time_and_its_session(
    signed: Any, idp: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with signed() as client:
        back = idp.consent(await begun(client))
        clock = time.time
        monkeypatch.setattr(flow.time, "time", lambda: clock() + flow.LIFETIME + 1)
        answer = await client.get(BACK, params=back)
        assert answer.status_code == 400 and "minutes ago" in message(answer)
        monkeypatch.undo()
        # Whoever signs out in between does not find an account connected later.
        session = await client.post("/v1/auth/session")
        assert session.status_code == 200
        del client.headers["Authorization"]
        back = idp.consent(await begun(client))
        assert (await client.delete("/v1/auth/session")).status_code == 204
        answer = await client.get(BACK, params=back)
        assert answer.status_code == 400 and "signed in" in message(answer)
    assert idp.grants == {}


async def test_a_provider_that_changes_in_between(signed: Any, idp: Any, server: Server) -> None:
    async with signed() as client:
        back = idp.consent(await begun(client))
        changed = idp.config(client_id="another", client_secret="x")
        await client.put(CONFIG, json=changed)
        answer = await client.get(BACK, params=back)
        assert answer.status_code == 400 and "configured otherwise" in message(answer)
        # What was connected before goes to nobody else, and goes when the provider does.
        await client.put(CONFIG, json=idp.config())
        await connected(client, idp)
        root = server.store.workspace("w").root
        await client.put(CONFIG, json=changed)
        with pytest.raises(Exception, match="configured otherwise"):
            await server.tokens.token(root, "w", "local", "idp")
        assert (await client.delete(CONFIG)).status_code == 204
        assert server.vault("w").labels("account") == []


async def test_who_may_connect_an_account(server: Server, signed: Any, idp: Any, token: str) -> None:
    server.grants.add("w", "anonymous", "runner", "workspace", None)
    async with signed() as client:
        wanted = {"name": "ci", "rights": [{"role": "admin"}]}
        machine = (await client.post("/v1/ws/w/tokens", json=wanted)).json()["token"]
        for path in (START, ACCOUNTS):
            refused = await client.get(path, headers={"Authorization": f"Bearer {machine}"})
            assert refused.status_code == 403
            del client.headers["Authorization"]
            assert (await client.get(path)).status_code == 401
            client.headers["Authorization"] = f"Bearer {token}"
        assert (await client.get("/v1/auth/w/none/start")).status_code == 404
        assert (await client.get("/v1/auth/none/idp/start")).status_code == 404
        # Where the browser comes back to is not for who asks to choose.
        answer = await client.get(START, headers={"Host": "evil.example"})
        assert answer.status_code == 501 and "base_url" in message(answer)


async def test_behind_a_public_name(make_server: Make, connect: Connect, idp: Any) -> None:
    server = make_server(provider_plain=True, base_url="https://agents.example.com")
    async with connect(server) as client:
        await client.put(CONFIG, json=idp.config())
        answer = await client.get(START, headers={"Host": "evil.example"})
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        assert query["redirect_uri"] == [f"https://agents.example.com{BACK}"]
        (cookie,) = answer.headers.get_list("set-cookie")
        assert cookie.startswith("__Host-mixkit_sign_in_") and "Secure" in cookie
        name, _, value = cookie.partition(";")[0].partition("=")
        back = idp.consent(answer.headers["location"])
        done = await client.get(BACK, params=back, headers={"Cookie": f"{name}={value}"})
        assert done.status_code == 200, done.text
        (gone,) = done.headers.get_list("set-cookie")
        assert gone.startswith(f"{name}=") and {
            "expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "Secure",
            "Path=/",
        } <= set(gone.split("; "))
        twice = {"Cookie": f"{name}={value}; {name}=other"}
        back = idp.consent((await client.get(START)).headers["location"])
        assert (await client.get(BACK, params=back, headers=twice)).status_code == 400


async def test_what_is_done_is_noted(signed: Any, idp: Any) -> None:
    async with signed() as client:
        await connected(client, idp)
        await client.get(BACK, params=idp.consent(await begun(client), error="access_denied"))
        await client.get(BACK, params={"state": "x"})
        await client.delete(f"{ACCOUNTS}/idp")
        await client.delete(CONFIG)
        session = await client.post("/v1/auth/session")
        assert session.status_code == 200
        del client.headers["Authorization"]
        noted = (await client.get("/v1/ws/w/activities")).json()["activities"]
        await client.delete("/v1/auth/session")
    found = [(each["kind"], each["status"], each["about"]) for each in reversed(noted)]
    assert found == [
        ("configure", 201, {"provider": "idp"}),
        ("sign-in", 200, {"account": "idp"}),
        ("sign-in", 403, {"account": "idp"}),
        ("revoke", 204, {"account": "idp", "revoked": True}),
        ("configure", 204, {"provider": "idp", "removed": True}),
    ]
    assert {each["subject"] for each in noted} == {"operator"}


async def test_a_server_without_a_vault_says_so(server: Server, connect: Connect, idp: Any) -> None:
    server.kernel.assembly.vaults = {}
    async with connect(server) as client:
        for method, path in (
            ("GET", "/v1/ws/w/auth-configs"), ("GET", CONFIG), ("DELETE", CONFIG), ("GET", START), ("GET", ACCOUNTS),
            ("DELETE", f"{ACCOUNTS}/idp"),
        ):  # fmt: skip
            answer = await client.request(method, path)
            assert answer.status_code == 501 and "keeps secrets" in message(answer), path
        assert (await client.put(CONFIG, json=idp.config())).status_code == 501
        assert (await client.get(BACK)).status_code == 400


async def test_sign_ins_that_nobody_ends_do_not_pile_up(signed: Any, idp: Any, server: Server) -> None:
    async with signed() as client:
        first = idp.consent(await begun(client))
        for _ in range(flow._MOST):
            last = idp.consent(await begun(client))
        assert len(server.vault("w").labels("sign-in")) == flow._MOST
        assert (await client.get(BACK, params=first)).status_code == 400
        assert (await client.get(BACK, params=last)).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "", "admin", "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil",
        "/\n/evil", " /x", "/./\\evil", "/.//evil.example", "/a//b", "javascript:x", "/x\x00", "/" + "a" * 3000, "/é",
        "///evil.example", "/ /evil", "http:/x", "/%5c\\x",
    ],
)  # fmt: skip
async def test_a_browser_is_sent_to_no_other_server(path: str) -> None:
    with pytest.raises(BadRequest):
        own_path(path)


@pytest.mark.parametrize("path", ["/", "/admin/?a=b&c=//d#e", "/x/%2F%2Fevil", "/a:b@c", "/~x/./y"])
def test_own_paths(path: str) -> None:
    assert own_path(path) == path


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"access_token": ""},
        {"access_token": "a b"},
        {"access_token": "a\r\nX: y"},
        {"access_token": ["a"]},
        {"access_token": "a", "token_type": "mac"},
        {"access_token": "a", "refresh_token": 7},
    ],
)
def test_tokens_that_cannot_be_used(answer: dict[str, Any]) -> None:
    with pytest.raises(ProviderFailed):
        account_of(answer, "mark")


@pytest.mark.parametrize("lifetime", [None, "soon", -1, True, float("inf"), {}])
def test_a_lifetime_that_is_none_is_not_known(lifetime: Any) -> None:
    assert account_of({"access_token": "a", "expires_in": lifetime}, "m").expires is None
