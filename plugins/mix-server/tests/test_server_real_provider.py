"""Third-party sign-in with a provider that others have written (oidc-provider-mock, on Authlib), over its pages."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import msgspec
import pytest
from mix_server.server import Server
from mix_server.sign_in.account import Account

from mixkit.errors import FFIError
from mixkit.vault import Label

pytestmark = pytest.mark.slow

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

USER = {"sub": "42", "email": "ada@example.org", "name": "Ada"}
LABEL = Label("account", "local", "idp")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where it serves."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # It shows warnings of what it imports, which are no concern of ours.
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port)]
    with (tmp_path_factory.mktemp("idp") / "log").open("wb") as log:
        child = subprocess.Popen(
            [*command, "--user-claims", json.dumps(USER), "--require-nonce", "true"], stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    httpx.get(f"http://127.0.0.1:{port}/.well-known/openid-configuration", timeout=5)
                    break
                except httpx.HTTPError:
                    assert child.poll() is None and time.monotonic() < deadline
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.kill()
            child.wait()


async def test_a_user_signs_in_and_is_refreshed(make_server: Make, connect: Connect, url: str) -> None:
    server = make_server(provider_plain=True)
    config = {
        "kind": "oidc",
        "issuer": url,
        "client_id": "mixkit",
        "client_secret": "a secret",
        "scopes": ["openid", "email", "profile"],
    }
    root = server.store.workspace("w").root

    async def token() -> str | None:
        return await server.tokens.token(root, "w", "local", "idp")

    def age() -> None:
        vault = server.vault("w")
        kept = vault.read(LABEL)
        assert kept is not None
        account = msgspec.structs.replace(Account.decode(kept.value), expires=time.time() - 1)
        vault.write(LABEL, account.encode(), kept.extra)

    async with connect(server) as client, httpx.AsyncClient(timeout=30) as browser:
        assert (await client.put("/v1/ws/w/auth-configs/idp", json=config)).status_code == 201

        async def come_back(**form: Any) -> httpx.Response:
            where = (await client.get("/v1/auth/w/idp/start")).headers["location"]
            assert (await browser.get(where)).status_code == 200
            back = (await browser.post(where, data=form)).headers["location"]
            assert back.startswith("http://127.0.0.1:8000/v1/auth/w/idp/callback?")
            return await client.get(back)

        # Where the user says no it leaves the state away, so there is nothing to tell whose answer that is.
        assert (await come_back(action="deny")).status_code in (400, 403)
        assert await token() is None
        done = await come_back(sub="42")
        assert done.status_code == 200, done.text
        (account,) = (await client.get("/v1/ws/w/accounts")).json()["accounts"]
        assert (account["subject"], account["email"], account["name"]) == ("42", USER["email"], "Ada")
        first = await token()
        bearer = {"Authorization": f"Bearer {first}"}
        assert (await browser.get(f"{url}/userinfo", headers=bearer)).json()["sub"] == "42"
        age()
        second = await token()
        assert second not in (None, first)
        bearer = {"Authorization": f"Bearer {second}"}
        assert (await browser.get(f"{url}/userinfo", headers=bearer)).json()["sub"] == "42"
        assert (await browser.post(f"{url}/users/42/revoke-tokens")).is_success
        age()
        with pytest.raises(FFIError, match="connect it again"):
            await token()
