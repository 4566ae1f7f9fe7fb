"""Who asks: tokens of an identity provider, of this server, of machines, and nobody in particular."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from mix_server.access import key_source
from mix_server.access.ended import Ended
from mix_server.access.key_set import MAX_KEYS, KeySet
from mix_server.access.machine import Machine, is_good
from mix_server.access.tokens import MAX_TRIED
from mix_server.caller import Caller, Permission
from mix_server.server import Server

from mixkit.errors import ProfileError, StorageError

BAD_TEXT = b'{"alg": "ES256", "keys": ["\xff"]}'
Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

AUDIENCE = "mixkit-tests"
ECHO = "/v1/ws/w/app/demo/agent/echo"


class Provider:
    """An identity provider on loopback: the set of its keys, and tokens that it signs."""

    def __init__(self) -> None:
        self.key: Any = ECKey.generate_key("P-256", {"kid": "one"})
        self.keys: list[Any] = [self.key.as_dict(private=False)]
        self.asked = 0
        self.status = 200
        self.headers: dict[str, str] = {}
        self.pause = 0.0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                body = json.dumps({"keys": provider.keys}).encode()
                self.send_response(provider.status)
                for name, text in provider.headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if not provider.pause:
                    self.wfile.write(body)
                    return
                with contextlib.suppress(OSError):
                    for number in range(len(body)):
                        self.wfile.write(body[number : number + 1])
                        time.sleep(provider.pause)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"

    def token(self, key: Any = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token of Ada's; what is None of header or claims is left away."""
        key = key or self.key
        given = {
            "sub": "42",
            "email": "Ada@Example.org",
            "aud": AUDIENCE,
            "exp": int(time.time()) + 600,
        } | claims
        named = {"alg": "ES256", "kid": "one"} | (header or {})
        head = {name: value for name, value in named.items() if value is not None}
        said = {name: value for name, value in given.items() if value is not None}
        with warnings.catch_warnings():
            # Of the name EdDSA, which providers go on to use.
            warnings.simplefilter("ignore")
            return jwt.encode(head, said, key, algorithms=[head["alg"]])

    def rotate(self, kid: str = "two") -> None:
        """Sign by a new key, and forget the old one."""
        self.key = ECKey.generate_key("P-256", {"kid": kid})
        self.keys = [self.key.as_dict(private=False)]


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def server(make_server: Make, provider: Provider) -> Server:
    made = make_server(
        jwks_url=provider.url, jwt_audience=AUDIENCE, workspace_creators=["domain/example.org"]
    )
    made.grants.add("w", "user/ada@example.org", "runner", "agent/demo/echo", None)
    return made


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def status(client: httpx.AsyncClient, token: str, path: str = ECHO) -> int:
    return (await client.post(path, json={}, headers=bearer(token))).status_code


async def test_a_user_may_what_was_granted(server: Server, connect: Connect, provider: Provider) -> None:
    async with connect(server, None) as client:
        ada, bob = provider.token(), provider.token(email="bob@elsewhere.org")
        assert await status(client, ada) == 200
        assert await status(client, bob) == 404
        assert provider.asked == 1
        # What she may not do but may know of is forbidden; what she may not know of does not exist.
        assert (await client.delete("/v1/ws/w/app/demo", headers=bearer(ada))).status_code == 403
        hidden = await client.get("/v1/ws/w/app/other", headers=bearer(ada))
        missing = await client.get("/v1/ws/none/app/other", headers=bearer(ada))
        assert (hidden.status_code, hidden.content) == (404, missing.content)
        assert (await client.get("/v1/ws", headers=bearer(ada))).json() == {"workspaces": ["w"]}
        assert (await client.get("/v1/ws", headers=bearer(bob))).json() == {"workspaces": []}


async def test_what_was_taken_back_is_refused_at_once(
    server: Server, connect: Connect, provider: Provider
) -> None:
    async with connect(server, None) as client:
        ada = provider.token()
        assert await status(client, ada) == 200
        (grant,) = server.grants.of("w")
        server.grants.remove("w", [grant.id])
        assert await status(client, ada) == 404


async def test_without_a_token_only_what_everybody_may(server: Server, connect: Connect) -> None:
    async with connect(server, None) as client:
        for path in (ECHO, "/v1/ws/none/app/a/agent/b"):
            refused = await client.post(path, json={})
            assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await client.get("/v1/ws")).status_code == 401
        server.grants.add("w", "anonymous", "runner", "agent/demo/echo", None)
        assert (await client.post(ECHO, json={})).status_code == 200
        assert (await client.post("/v1/ws/w/app/demo/agent/other", json={})).status_code == 401


def _forged(token: str, header: dict[str, Any]) -> str:
    """The token with another header, without a signature."""
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return f"{head}.{token.split('.')[1]}."


async def test_tokens_that_are_refused(server: Server, connect: Connect, provider: Provider) -> None:
    now = int(time.time())
    public = provider.key.as_pem(private=False)
    stranger = ECKey.generate_key("P-256", {"kid": "one"})
    tokens = {
        "nothing": "x",
        "two parts": "a.b",
        "not signed": _forged(provider.token(), {"alg": "none"}),
        "no signature": _forged(provider.token(), {"alg": "ES256", "kid": "one"}),
        "a public key as a secret": jwt.encode(
            {"alg": "HS256", "kid": "one"},
            {"sub": "42", "email": "ada@example.org", "aud": AUDIENCE, "exp": now + 600},
            OctKey.import_key(base64.b64encode(public)),
            algorithms=["HS256"],
        ),
        "another key of that name": provider.token(stranger),
        "another audience": provider.token(aud="other"),
        "no audience": provider.token(aud=None),
        "expired": provider.token(exp=now - 120),
        "without an end": provider.token(exp=None),
        "an end that is no number": provider.token(exp="tomorrow"),
        "of the future": provider.token(nbf=now + 600),
        "made in the future": provider.token(iat=now + 600),
        "of nobody": provider.token(sub=None),
        "of an empty name": provider.token(sub=""),
        "oversized": provider.token(more="x" * 20_000),
        "a critical header": _forged(provider.token(), {"alg": "ES256", "crit": ["x"], "x": 1}),
        "a server's": provider.token(header={"kid": server.key.kid}),
        "a header without an end": f"{'W1tb' * 3_000}.e30.AA",
        "a header that is no text": f"{base64.urlsafe_b64encode(BAD_TEXT).decode().rstrip('=')}.e30.AA",
        "no machine's": "mxm_w.0123456789abcdef.secret",
        "no workspace's": "mxm_../../x.y.z",
    }
    async with connect(server, None) as client:
        for name, token in tokens.items():
            assert await status(client, token) == 401, name
        for header in ("Basic YTpi", "Bearer", "Bearer ", provider.token()):
            refused = await client.post(ECHO, json={}, headers={"Authorization": header})
            assert refused.status_code == 401, header
        assert await status(client, provider.token(aud=["other", AUDIENCE], exp=now - 5)) == 200


async def test_an_address_that_is_not_verified_is_nobodys(
    server: Server, connect: Connect, provider: Provider
) -> None:
    server.grants.add("w", "all-users", "runner", "db/demo", None)
    async with connect(server, None) as client:
        for claims in ({"email_verified": False}, {"email": None}, {"email": "ada@example.org/x"}):
            token = bearer(provider.token(**claims))
            # A user, but not that one.
            assert (await client.post(ECHO, json={}, headers=token)).status_code == 200
            assert (await client.post("/v1/ws", json={}, headers=token)).status_code == 403
        assert (await client.post("/v1/ws", json={}, headers=bearer(provider.token()))).status_code == 201


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES384", "EdDSA", "Ed25519"])
async def test_keys_of_all_kinds(
    server: Server, connect: Connect, provider: Provider, algorithm: str
) -> None:
    made: Any = {
        "R": lambda: RSAKey.generate_key(2048, {"kid": "k"}),
        "P": lambda: RSAKey.generate_key(2048, {"kid": "k"}),
        "E": lambda: ECKey.generate_key("P-384", {"kid": "k"}),
    }.get(
        algorithm[0] if algorithm[:2] != "Ed" else "", lambda: OKPKey.generate_key("Ed25519", {"kid": "k"})
    )()
    provider.keys = [made.as_dict(private=False)]
    async with connect(server, None) as client:
        assert await status(client, provider.token(made, {"alg": algorithm, "kid": "k"})) == 200
        # By its own algorithms only, and by the id that it has.
        assert await status(client, provider.token(made, {"alg": algorithm, "kid": "other"})) == 401


async def test_a_key_that_is_not_understood_is_passed_over(
    server: Server, connect: Connect, provider: Provider
) -> None:
    good = provider.keys[0]
    provider.keys = [
        None, 7, {}, {"kty": "AKP", "kid": "one"}, {**good, "use": "enc"}, {**good, "x": "!"}, {**good, "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one"}, {**good, "kid": 7}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        ECKey.generate_key("P-256", {"kid": "one"}).as_dict(private=False), good,
    ]  # fmt: skip
    async with connect(server, None) as client:
        # Two of one id: both are tried.
        assert await status(client, provider.token()) == 200


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"keys":' + b"[" * 100_000, BAD_TEXT, b"{", b"[]"])
def test_what_is_no_set(data: bytes) -> None:
    with pytest.raises(ValueError, match="expected a JWK set"):
        KeySet.decode(data)


def test_a_set_is_bounded_and_found_by_id() -> None:
    key = ECKey.generate_key("P-256").as_dict(private=False)
    keys = KeySet([{**key, "kid": str(number)} for number in range(MAX_KEYS + 5)])
    assert len(keys) == MAX_KEYS
    assert len(keys.candidates("3", "ES256")) == 1
    assert not keys.candidates("3", "RS256")
    assert "expected at most" in keys.passed_over[0]


async def test_a_token_is_tried_with_few_keys(server: Server, connect: Connect, provider: Provider) -> None:
    others = (ECKey.generate_key("P-256", {"kid": f"k{number}"}) for number in range(MAX_TRIED - 1))
    provider.keys += [key.as_dict(private=False) for key in others]
    async with connect(server, None) as client:
        # Any of them may have signed one that names none.
        assert await status(client, provider.token(header={"kid": None})) == 200
        provider.keys.append(provider.keys[-1] | {"kid": "one more"})
        server.authorizer._source._until = 0.0  # type: ignore[attr-defined]
        assert await status(client, provider.token(header={"kid": None})) == 401
        assert await status(client, provider.token()) == 200


async def test_a_new_key_is_fetched_when_a_token_names_it(
    server: Server, connect: Connect, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect(server, None) as client:
        old = provider.token()
        assert await status(client, old) == 200
        provider.rotate()
        # Not more often than that, whatever tokens name.
        assert await status(client, provider.token(header={"kid": "two"})) == 401
        assert provider.asked == 1
        monkeypatch.setattr(key_source, "_AGAIN", 0.0)
        assert await status(client, provider.token(header={"kid": "two"})) == 200
        assert provider.asked == 2
        # What the old key signed is not good any more, though it was verified before.
        assert await status(client, old) == 401


async def test_a_provider_that_is_away_locks_nobody_out(
    server: Server, connect: Connect, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_source, "_OLDEST", 0.0)
    async with connect(server, None) as client:
        provider.status = 503
        away = await client.post(ECHO, json={}, headers=bearer(provider.token()))
        assert (away.status_code, away.headers["Retry-After"]) == (503, "5")
        assert await status(client, provider.token()) == 503
        assert provider.asked == 1, "a failure is not tried again at once"
        monkeypatch.setattr(server.authorizer._source, "_next", 0.0)  # type: ignore[attr-defined]
        provider.status = 200
        assert await status(client, provider.token()) == 200
        provider.status = 503
        assert await status(client, provider.token()) == 200
        assert provider.asked >= 3


async def test_a_provider_that_goes_on_and_on_holds_nobody_up(
    server: Server, connect: Connect, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_source, "_TIMEOUT", 0.3)
    monkeypatch.setattr(key_source, "_OLDEST", 0.0)
    async with connect(server, None) as client, asyncio.timeout(30):
        # A byte now and then is no answer: neither without keys, nor with those from before.
        source = server.authorizer._source  # type: ignore[attr-defined]
        for pause, expected in ((1.0, 503), (0.0, 200), (1.0, 200)):
            provider.pause = pause
            deadline = time.monotonic() + 20
            while True:
                source._next = 0.0
                found = await status(client, provider.token())
                # Without keys the answer from before may have to end first.
                if found == expected or time.monotonic() > deadline:
                    break
            assert found == expected
        fetching = [thread for thread in threading.enumerate() if thread.name == "mixkit-keys"]
        assert len(fetching) <= 1
        provider.pause = 0.0
        for thread in fetching:
            await asyncio.to_thread(thread.join, 20)
        assert await status(client, provider.token()) == 200


async def test_keys_come_over_https_only(server: Server, connect: Connect, provider: Provider) -> None:
    provider.status, provider.headers = 302, {"Location": "http://192.0.2.1/keys"}
    async with connect(server, None) as client:
        assert await status(client, provider.token()) == 503
    for url in ("http://192.0.2.1/keys", "ftp://127.0.0.1/keys", "file:///etc/keys", "https:///keys", "keys"):
        with pytest.raises(ProfileError, match="expected an https URL"):
            key_source.KeySource(url)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"jwks_url": "https://id.example/keys"}, "expected an audience"),
        ({"jwt_audience": "x"}, "expected jwks_url"),
        ({"jwt_issuer": "x"}, "expected jwks_url"),
        ({"workspace_creators": ["everybody"]}, "expected the subject"),
        ({"server_key": "no key"}, "expected a private key on P-256"),
        ({"token": None}, "MIXKIT_SERVER_TOKEN"),
        ({"no_auth": True}, "found both"),
        ({"token": None, "no_auth": True, "jwks_url": "https://id.example/keys"}, "found both"),
    ],
)
def test_settings_that_do_not_go_together(make_server: Make, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        make_server(**settings)


# -- tokens of this server -----------------------------------------------------------------------


async def test_a_token_of_the_server(
    server: Server, make_server: Make, connect: Connect, provider: Provider
) -> None:
    async with connect(server, None) as client:
        made = await client.post("/v1/auth/token", headers=bearer(provider.token()))
        assert (made.status_code, made.headers["Cache-Control"]) == (200, "no-store")
        own = made.json()["token"]
        provider.status, provider.keys = 503, []
        assert await status(client, own) == 200
        public = (await client.get("/v1/auth/keys")).json()
        assert set(public["keys"][0]) >= {"kid", "x", "y"}
        assert "d" not in public["keys"][0]
    # Another process of these workspaces takes it, and one of others does not.
    again = make_server()
    async with connect(again, None) as client:
        assert await status(client, own) == 200
    other = make_server(server_key=ECKey.generate_key("P-256").as_pem(private=True).decode())
    async with connect(other, None) as client:
        assert await status(client, own) == 401


async def test_only_a_user_gets_one(server: Server, connect: Connect, provider: Provider, token: str) -> None:
    async with connect(server, None) as client:
        assert (await client.post("/v1/auth/token")).status_code == 401
        for other in (token, provider.token(email=None)):
            assert (await client.post("/v1/auth/token", headers=bearer(other))).status_code == 403


# -- sessions of browsers ------------------------------------------------------------------------


async def test_who_asks_is_said(server: Server, connect: Connect, provider: Provider, token: str) -> None:
    async with connect(server, None) as client:
        path = "/v1/auth/session"
        assert (await client.get(path)).status_code == 401
        operator = (await client.get(path, headers=bearer(token))).json()
        assert operator == {
            "name": "operator", "subject": None, "operator": True, "session": False, "until": None,
            "may": [str(each) for each in Permission],
        }  # fmt: skip
        ada = (await client.get(path, headers=bearer(provider.token()))).json()
        assert (ada["name"], ada["subject"]) == ("ada@example.org", "user/ada@example.org")
        assert (ada["operator"], ada["session"]) == (False, False)
        begun = (await client.post(path, headers=bearer(provider.token()))).json()
        answer = await client.get(path)
        assert answer.headers["Cache-Control"] == "no-store"
        found = answer.json()
        assert (found["name"], found["session"]) == ("ada@example.org", True)
        assert abs(found["until"] - begun["until"]) < 120
        nobody = (await client.get(path, headers=bearer(provider.token(email=None)))).json()
        assert nobody["name"] == "sub/42"


async def test_without_authentication_everybody_is_here(make_server: Make, connect: Connect) -> None:
    async with connect(make_server(token=None, no_auth=True), None) as client:
        found = (await client.get("/v1/auth/session")).json()
    assert (found["name"], found["session"]) == ("everybody on this machine", False)


@pytest.mark.parametrize("operator", [False, True])
async def test_a_session_is_for_the_pages_of_the_server(
    server: Server, connect: Connect, provider: Provider, token: str, operator: bool
) -> None:
    who = token if operator else provider.token()
    async with connect(server, None) as client:
        begun = await client.post("/v1/auth/session", headers=bearer(who))
        assert begun.status_code == 200
        (cookie,) = begun.headers.get_list("set-cookie")
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        value = client.cookies["mixkit_session"]
        assert (await client.post(ECHO, json={})).status_code == 200
        for headers in (
            {"Origin": "https://elsewhere.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "null"},
        ):
            assert (await client.post(ECHO, json={}, headers=headers)).status_code == 403, headers
        own = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
        assert (await client.post(ECHO, json={}, headers=own)).status_code == 200
        # What is in the cookie is good nowhere else, and nothing else is good there.
        assert (await client.delete("/v1/auth/session")).status_code == 204
        assert "mixkit_session" not in client.cookies
        assert (await client.post(ECHO, json={})).status_code == 401
        assert await status(client, value) == 401
        for other in (who, value[:-4] + "AAAA", "x"):
            client.cookies.set("mixkit_session", other)
            assert (await client.post(ECHO, json={})).status_code == 401


async def test_a_session_of_the_operator_ends_with_the_token(
    server: Server, make_server: Make, connect: Connect, token: str
) -> None:
    async with connect(server, token) as client:
        await client.post("/v1/auth/session")
        value = client.cookies["mixkit_session"]
    async with connect(make_server(token="another-token-of-the-operator"), None) as client:
        client.cookies.set("mixkit_session", value)
        assert (await client.get("/v1/ws")).status_code == 401


async def test_a_session_that_was_ended_is_ended_in_all_workers(
    server: Server, make_server: Make, connect: Connect, provider: Provider
) -> None:
    other = make_server(jwks_url=provider.url, jwt_audience=AUDIENCE)
    async with connect(server, None) as client, connect(other, None) as elsewhere:
        await client.post("/v1/auth/session", headers=bearer(provider.token()))
        stolen = client.cookies["mixkit_session"]
        made = (await client.post("/v1/auth/token")).json()["token"]
        await client.post("/v1/auth/session", headers=bearer(provider.token()))
        second = client.cookies["mixkit_session"]
        elsewhere.cookies.set("mixkit_session", stolen)
        assert (await elsewhere.post(ECHO, json={})).status_code == 200
        assert await status(elsewhere, made) == 200
        client.cookies.clear()
        client.cookies.set("mixkit_session", stolen)
        assert (await client.delete("/v1/auth/session")).status_code == 204
        # The thief's, and what was made with it, wherever it is shown; what is somebody's own goes on.
        assert (await elsewhere.post(ECHO, json={})).status_code == 401
        elsewhere.cookies.clear()
        assert await status(elsewhere, made) == 401
        assert await status(elsewhere, provider.token()) == 200
        elsewhere.cookies.set("mixkit_session", second)
        assert (await elsewhere.post(ECHO, json={})).status_code == 200
        # To end what has ended is no fault; the browser forgets it.
        client.cookies.set("mixkit_session", stolen)
        assert (await client.delete("/v1/auth/session")).status_code == 204
        assert (await client.delete("/v1/auth/session", params={"everywhere": "maybe"})).status_code == 400


async def test_who_signs_out_everywhere_begins_anew(
    server: Server, make_server: Make, connect: Connect, provider: Provider, token: str
) -> None:
    server.grants.add("w", "domain/example.org", "runner", "agent/demo/echo", None)
    other = make_server(jwks_url=provider.url, jwt_audience=AUDIENCE)
    everywhere = {"everywhere": "true"}
    async with connect(server, None) as client, connect(other, None) as elsewhere:
        assert (await client.delete("/v1/auth/session", params=everywhere)).status_code == 401
        ada, eve = bearer(provider.token()), bearer(provider.token(sub="43", email="eve@example.org"))
        tokens = [(await client.post("/v1/auth/token", headers=ada)).json()["token"] for _ in range(2)]
        kept = (await client.post("/v1/auth/token", headers=eve)).json()["token"]
        sessions = []
        for who in (ada, ada, eve):
            client.cookies.clear()
            await client.post("/v1/auth/session", headers=who)
            sessions.append(client.cookies["mixkit_session"])
        client.cookies.clear()
        assert (await client.delete("/v1/auth/session", params=everywhere, headers=ada)).status_code == 204
        for place in (client, elsewhere):
            assert [await status(place, each) for each in (*tokens, kept)] == [401, 401, 200]
            for session, expected in zip(sessions, (401, 401, 200), strict=True):
                place.cookies.clear()
                place.cookies.set("mixkit_session", session)
                assert (await place.post(ECHO, json={})).status_code == expected
            place.cookies.clear()
        assert (await client.post("/v1/auth/session", headers=ada)).status_code == 200
        assert (await client.post(ECHO, json={})).status_code == 200
        again = (await client.post("/v1/auth/token")).json()["token"]
        assert await status(elsewhere, again) == 200


def test_what_was_ended_is_forgotten_when_it_would_have_ended(tmp_path: Path) -> None:
    ended = Ended(tmp_path)
    caller = Caller("ada@example.org", began=time.time(), session="one")
    assert not ended.has(caller)
    ended.end("one", 600)
    ended.end("two", -1)
    assert ended.has(caller) and Ended(tmp_path).has(caller)
    assert not ended.has(replace(caller, session="three")) and not ended.has(replace(caller, began=None))
    ended.end_all("ada@example.org", 600)
    assert ended.has(replace(caller, session=None)) and not ended.has(
        replace(caller, user="eve", session=None)
    )
    assert not ended.has(replace(caller, session=None, began=time.time() + 1))
    (file,) = tmp_path.rglob("ended.json")
    assert list(json.loads(file.read_bytes())["sessions"]) == ["one"]
    file.write_bytes(b"{")
    with pytest.raises(StorageError):
        ended.has(caller)


def test_what_processes_end_at_once_is_all_ended(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: Ended(tmp_path).end(str(number), 600), range(40)))
    caller = Caller("ada@example.org", began=0.0)
    assert all(Ended(tmp_path).has(replace(caller, session=str(number))) for number in range(40))


async def test_nobody_and_no_machine_has_a_session(server: Server, connect: Connect, token: str) -> None:
    async with connect(server, None) as client:
        assert (await client.post("/v1/auth/session")).status_code == 401
        wanted = {"name": "ci", "rights": [{"role": "runner"}]}
        machine = (await client.post("/v1/ws/w/tokens", json=wanted, headers=bearer(token))).json()["token"]
        assert (await client.post("/v1/auth/session", headers=bearer(machine))).status_code == 403


# -- machines -------------------------------------------------------------------------------------


async def test_a_machine_has_its_rights_until_it_is_revoked(
    server: Server, connect: Connect, token: str
) -> None:
    async with connect(server, token) as client:
        wanted = {"name": "ci", "rights": [{"role": "runner", "resource": "agent/demo/echo"}], "seconds": 600}
        made = await client.post("/v1/ws/w/tokens", json=wanted)
        assert made.status_code == 201
        machine = made.json()
        secret = machine["token"].rpartition(".")[2]
        assert await status(client, machine["token"]) == 200
        assert await status(client, machine["token"], "/v1/ws/w/tokens") == 403
        assert await status(client, machine["token"][:-1]) == 401
        listed = await client.get("/v1/ws/w/tokens")
        assert [each["name"] for each in listed.json()["tokens"]] == ["ci"]
        assert secret not in listed.text
        assert (await client.get(made.headers["Location"])).json()["rights"] == wanted["rights"]
        assert (await client.delete(made.headers["Location"])).status_code == 204
        assert await status(client, machine["token"]) == 401
        assert (await client.delete(made.headers["Location"])).status_code == 404
        assert all(not grant.subject.startswith("machine/") for grant in server.grants.of("w"))


async def test_a_machine_whose_time_is_over(
    server: Server, connect: Connect, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect(server, token) as client:
        wanted = {"name": "ci", "rights": [{"role": "runner"}], "seconds": 60}
        machine = (await client.post("/v1/ws/w/tokens", json=wanted)).json()["token"]
        assert await status(client, machine) == 200
        later = time.time() + 61
        monkeypatch.setattr(time, "time", lambda: later)
        assert await status(client, machine) == 401


@pytest.mark.parametrize(
    "body",
    [
        {}, {"name": "x"}, {"name": "x", "rights": []}, {"name": "", "rights": [{"role": "runner"}]},
        {"name": "x", "rights": [{"role": "king"}]}, {"name": "x", "rights": [{"role": "runner", "resource": "db"}]},
        {"name": "x", "rights": [{"role": "runner"}], "seconds": 0},
        {"name": "x", "rights": [{"role": "runner"}], "more": 1},
    ],
)  # fmt: skip
async def test_wrong_wishes(server: Server, connect: Connect, token: str, body: dict[str, Any]) -> None:
    async with connect(server, token) as client:
        assert (await client.post("/v1/ws/w/tokens", json=body)).status_code == 400
        assert (await client.get("/v1/ws/w/tokens")).json() == {"tokens": []}


# -- grants over HTTP -----------------------------------------------------------------------------


async def test_grants_over_http(server: Server, connect: Connect, provider: Provider, token: str) -> None:
    async with connect(server, token) as client:
        wanted = {"subject": "user/Bob@elsewhere.org", "role": "runner", "resource": "agent/demo/echo"}
        made = await client.post("/v1/ws/w/permissions", json=wanted)
        assert (made.status_code, made.json()["subject"]) == (201, "user/bob@elsewhere.org")
        assert (await client.post("/grant-permission/w", json=wanted)).status_code == 200
        assert await status(client, provider.token(email="bob@elsewhere.org")) == 200
        listed = (await client.get("/v1/ws/w/app/demo/agent/echo/permissions")).json()
        assert {each["subject"] for each in listed["permissions"]} == {
            "user/ada@example.org",
            "user/bob@elsewhere.org",
        }
        assert (await client.get("/v1/ws/w/app/other/permissions")).json()["permissions"] == []
        why = await client.get(
            "/v1/ws/w/permissions",
            params={"explain": "run", "subject": "user/bob@elsewhere.org", "resource": "db/demo"},
        )
        assert (why.json()["allowed"], why.json()["needed"]["roles"][0]) == (False, "runner")
        assert (await client.delete(made.headers["Location"])).status_code == 204
        assert await status(client, provider.token(email="bob@elsewhere.org")) == 404


async def test_who_administers_an_app_grants_nothing_outside_of_it(
    server: Server, connect: Connect, provider: Provider, token: str
) -> None:
    grant, _ = server.grants.add("w", "domain/elsewhere.org", "runner", "db/other", None)
    server.grants.add("w", "user/ada@example.org", "admin", "db/demo", None)
    async with connect(server, None) as client:
        client.headers.update(bearer(provider.token()))
        inside = {"subject": "all-users", "role": "editor"}
        assert (await client.post("/v1/ws/w/app/demo/permissions", json=inside)).status_code == 201
        for resource in ("workspace", "db/other", "agent/other/x"):
            wanted = inside | {"resource": resource}
            assert (await client.post("/v1/ws/w/app/demo/permissions", json=wanted)).status_code == 400
            assert (await client.post("/v1/ws/w/permissions", json=wanted)).status_code == 403
        assert (await client.delete(f"/v1/ws/w/app/demo/permissions/{grant.id}")).status_code == 404
        assert (await client.delete(f"/v1/ws/w/permissions/{grant.id}")).status_code == 403
        params = {"explain": "run", "subject": "all-users", "resource": "db/other"}
        assert (await client.get("/v1/ws/w/app/demo/permissions", params=params)).status_code == 400


async def test_who_makes_a_workspace_owns_it(
    server: Server, connect: Connect, provider: Provider, token: str
) -> None:
    async with connect(server, None) as client:
        ada, bob = bearer(provider.token()), bearer(provider.token(email="bob@elsewhere.org"))
        assert (await client.post("/v1/ws", json={"name": "hers"}, headers=ada)).status_code == 201
        assert (await client.post("/v1/ws", json={"name": "his"}, headers=bob)).status_code == 403
        assert (await client.get("/v1/ws/hers/permissions", headers=ada)).json() == {
            "owner": "user/ada@example.org",
            "permissions": [],
        }
        assert (await client.get("/v1/ws/hers", headers=bob)).status_code == 404
        assert (await client.delete("/v1/ws/hers", headers=bob)).status_code == 404
        assert (await client.get("/v1/ws/hers", headers=bearer(token))).status_code == 200
        assert (await client.delete("/v1/ws/hers", headers=ada)).status_code == 204


async def test_what_a_machine_makes_ends_with_it(server: Server, connect: Connect, token: str) -> None:
    tokens = "/v1/ws/w/tokens"
    rights = [{"role": "admin"}]

    async def make(by: str, **more: Any) -> tuple[str, str]:
        answer = await client.post(tokens, json={"name": "m", "rights": rights, **more}, headers=bearer(by))
        assert answer.status_code == 201
        return answer.json()["id"], answer.json()["token"]

    async with connect(server, None) as client:
        first, by_operator = await make(token)
        _, second = await make(by_operator)
        _, third = await make(second)
        short, brief = await make(token, seconds=600)
        _, of_brief = await make(brief)
        _, apart = await make(token)
        everyone = (by_operator, second, third, brief, of_brief, apart)
        assert [await status(client, each) for each in everyone] == [200] * 6
        assert (await client.delete(f"{tokens}/{first}", headers=bearer(token))).status_code == 204
        assert [await status(client, each) for each in everyone] == [401, 401, 401, 200, 200, 200]
        assert (
            await client.post(tokens, json={"name": "m", "rights": rights}, headers=bearer(third))
        ).status_code == 401
        (made,) = [each for each in server.grants.of("w").machines.values() if each.by == f"machine/{short}"]
        ended = replace(server.grants.of("w").machines[short], until=time.time() - 1)
        assert not is_good(made, {short: ended, made.id: made})


def test_machines_that_made_one_another_are_none() -> None:
    one, two = (Machine(id * 16, "m", "", None, f"machine/{by * 16}") for id, by in ("ab", "ba"))
    assert not is_good(one, {one.id: one, two.id: two})
