"""Access tokens of accounts: refreshed once, whoever asks and however many; kept through failures and kills."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import httpx
import msgspec
import pytest
from mix_server.server import Server
from mix_server.sign_in import refresh
from mix_server.sign_in.account import Account

from mixkit.environment import Env
from mixkit.errors import FFIError, StorageError
from mixkit.ffi_call import call_ffi
from mixkit.grants import Grants
from mixkit.storage import Place
from mixkit.vault import Label

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

LABEL = Label("account", "local", "idp")
GRANTED = Grants(["*"], {"secrets.accounts": ["idp"]})


class Connected:
    """A server on which the operator has connected an account."""

    def __init__(self, server: Server, idp: Any) -> None:
        self.server = server
        self.idp = idp
        self.root = server.store.workspace("w").root

    @property
    def vault(self) -> Any:
        return self.server.vault("w")

    @property
    def account(self) -> Account | None:
        kept = self.vault.read(LABEL)
        return None if kept is None else Account.decode(kept.value)

    def age(self, left: float = -1.0, **changes: Any) -> str:
        """Let the access token have so many seconds left; answers it."""
        kept, account = self.vault.read(LABEL), self.account
        assert account is not None
        account = msgspec.structs.replace(account, expires=time.time() + left, **changes)
        self.vault.write(LABEL, account.encode(), kept.extra)
        self.server.tokens._failing.clear()
        return account.access

    async def token(self, server: Server | None = None) -> str | None:
        return await (server or self.server).tokens.token(self.root, "w", "local", "idp")


@pytest.fixture
async def connected(make_server: Make, connect: Connect, idp: Any) -> AsyncIterator[Connected]:
    server = make_server(provider_plain=True, provider_timeout=5.0)
    async with connect(server) as client:
        await client.put("/v1/ws/w/auth-configs/idp", json=idp.config())
        where = (await client.get("/v1/auth/w/idp/start")).headers["location"]
        answer = await client.get("/v1/auth/w/idp/callback", params=idp.consent(where))
        assert answer.status_code == 200, answer.text
        yield Connected(server, idp)


async def test_an_agent_gets_a_token_that_is_good(connected: Connected) -> None:
    old = connected.age(30)
    place = Place("w", "demo", connected.root / "demo.1" / "data")
    place.home.parent.mkdir()
    run = {"env": Env(user="local", workspace="w", app="demo"), "place": place}
    kernel = connected.server.kernel
    answer = await call_ffi(kernel, "$secrets_getToken", ["idp"], grants=GRANTED, **run)
    assert answer.name == "ok" and answer.arg.reveal().decode() in connected.idp._access
    assert answer.arg.reveal().decode() != old
    extra = await call_ffi(kernel, "$secrets_tokenExtra", ["idp"], grants=GRANTED, **run)
    assert extra.arg["email"] == "ada@example.org" and extra.arg["expires"] > time.time() + 1_000
    assert (await call_ffi(kernel, "$secrets_getToken", ["idp"], **run)).name == "error"
    others = {**run, "env": Env(user="eve@example.org", workspace="w", app="demo")}
    assert (await call_ffi(kernel, "$secrets_getToken", ["idp"], grants=GRANTED, **others)).name == "error"
    assert (await call_ffi(kernel, "$secrets_deleteToken", ["idp"], grants=GRANTED, **run)).arg is True
    assert connected.account is None


async def test_many_at_once_refresh_once(connected: Connected, make_server: Make) -> None:
    other = make_server(provider_plain=True)
    connected.idp.pause = 0.05
    for expected in (1, 2):
        old = connected.age()
        found = await asyncio.gather(
            *(connected.token(server) for _ in range(30) for server in (None, other))
        )
        assert len(set(found)) == 1 and found[0] != old
        assert connected.idp.refreshes == expected
    assert connected.idp.revoked == set()
    assert connected.account is not None and connected.account.previous is not None
    await other.stop()


async def test_a_token_that_is_fresh_is_not_refreshed(connected: Connected) -> None:
    old = connected.age(3000)
    assert await connected.token() == old and connected.idp.refreshes == 0
    connected.age(59.0)
    assert await connected.token() != old and connected.idp.refreshes == 1


@pytest.mark.parametrize(
    "answer",
    [
        500, 502, 503, 429, 404, 302, (200, {}), (200, "no JSON"), (200, []), (200, {"access_token": "a b"}),
        (500, {"error": "invalid_grant"}), (429, {"error": "invalid_grant"}),
        (400, {"error": "temporarily_unavailable"}), (401, {"error": "invalid_client"}),
        (200, {"error": "bad_refresh_token"}), (400, {"error": ["invalid_grant"]}), (400, "invalid_grant"),
    ],
)  # fmt: skip
async def test_what_passes_changes_nothing(connected: Connected, answer: Any) -> None:
    old = connected.age(30)
    before = connected.account
    connected.idp.answers = [answer]
    assert await connected.token() == old, "it is good for a while"
    connected.idp.answers = [answer]
    expired = connected.age(-1)
    with pytest.raises(FFIError, match="cannot be refreshed now"):
        await connected.token()
    # It is let be for a moment.
    with pytest.raises(FFIError, match="cannot be refreshed now"):
        await connected.token()
    assert len(connected.idp.requests) == 3
    account = connected.account
    assert account is not None and before is not None and account.refresh == before.refresh
    connected.server.tokens._failing.clear()
    assert await connected.token() not in (None, old, expired)


async def test_a_provider_that_is_away_or_says_nothing(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected.age()
    connected.idp.pause = 30.0
    connected.server.tokens.web.seconds = 0.3
    begun = time.monotonic()
    with pytest.raises(FFIError, match="no complete answer"):
        await connected.token()
    assert time.monotonic() - begun < 20
    connected.idp.pause = 0.0
    monkeypatch.setattr(connected.server.tokens.metadata, "endpoints", _refused)
    connected.age()
    with pytest.raises(FFIError, match="cannot connect"):
        await connected.token()
    assert connected.account is not None


async def _refused(provider: Any) -> Any:
    from mixkit.exchange import Unanswered

    raise Unanswered("idp.example: cannot connect")


async def test_what_the_provider_has_ended_is_ended(connected: Connected) -> None:
    connected.age()
    connected.idp._refresh.clear()
    with pytest.raises(FFIError, match="connect it again"):
        await connected.token()
    assert connected.account is None and await connected.token() is None
    assert len(connected.idp.requests) == 2


async def test_the_token_before_is_tried_in_its_grace_time(connected: Connected) -> None:
    first = connected.account
    assert first is not None and first.refresh is not None
    connected.age()
    await connected.token()
    second = connected.account
    assert second is not None and second.refresh not in (None, first.refresh) and second.previous is not None
    # A provider that does not know of the newest, and goes on to take the one before.
    family, _ = connected.idp._refresh.pop(second.refresh)
    connected.idp._refresh[first.refresh] = (family, False)
    connected.age()
    assert await connected.token() in connected.idp._access
    third = connected.account
    assert third is not None and third.refresh is not None
    connected.idp._refresh.pop(third.refresh)
    connected.idp.answers = []
    connected.age(previous=msgspec.structs.replace(third.previous, until=time.time() - 1))
    asked = len(connected.idp.requests)
    with pytest.raises(FFIError, match="connect it again"):
        await connected.token()
    assert len(connected.idp.requests) == asked + 1


async def test_a_failure_behind_a_refusal_ends_nothing(connected: Connected) -> None:
    connected.age()
    await connected.token()
    connected.age()
    connected.idp.answers = [(400, {"error": "invalid_grant"}), 503]
    with pytest.raises(FFIError, match="cannot be refreshed now"):
        await connected.token()
    connected.server.tokens._failing.clear()
    assert await connected.token() is not None


async def test_a_provider_that_does_not_rotate(connected: Connected) -> None:
    connected.idp.rotates = False
    before = connected.account
    for _ in range(2):
        connected.age()
        assert await connected.token() in connected.idp._access
    after = connected.account
    assert before is not None and after is not None and after.refresh == before.refresh
    connected.age(refresh=None)
    with pytest.raises(FFIError, match="has expired"):
        await connected.token()
    assert connected.account is not None


async def test_new_tokens_are_kept_even_if_the_disk_fails_at_first(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mix_secrets.shared import SharedVault

    connected.age()
    write, failed = SharedVault.write, []

    def failing(self: Any, label: Label, *rest: Any) -> int:
        if label == LABEL and len(failed) < 2:
            failed.append(1)
            raise StorageError("the disk is full")
        return write(self, label, *rest)

    monkeypatch.setattr(SharedVault, "write", failing)
    monkeypatch.setattr(refresh, "_TRIES", (0.01, 0.01, 0.01))
    token = await connected.token()
    assert len(failed) == 2 and connected.account is not None and connected.account.access == token


async def test_who_goes_away_takes_nothing_with_it(connected: Connected) -> None:
    old = connected.age()
    connected.idp.pause = 0.2
    first = asyncio.create_task(connected.token())
    while not connected.server.tokens._tasks:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    # The server waits for it as it stops.
    await connected.server.tokens.stop()
    assert connected.account is not None and connected.account.access != old
    assert connected.idp.refreshes == 1


# -- processes ------------------------------------------------------------------------------------

WORKER = """
import asyncio, json, sys
from pathlib import Path
from mixkit import Kernel
from mixkit.environment import Env
from mixkit.ffi_call import call_ffi
from mixkit.grants import Grants
from mixkit.storage import Place

root, count = Path(sys.argv[1]), int(sys.argv[2])
overrides = {"settings.server.ws_dir": str(root.parent), "settings.server.provider_plain": True}
granted = Grants(["*"], {"secrets.accounts": ["idp"]})

async def main(kernel):
    place = Place("w", "demo", root / "demo.1" / "data")
    env = Env(user="local", workspace="w", app="demo")
    def call():
        return call_ffi(kernel, "$secrets_getToken", ["idp"], env=env, place=place, grants=granted)
    found = await asyncio.gather(*(call() for _ in range(count)))
    return [each.arg.reveal().decode() if each.name == "ok" else [each.arg] for each in found]

with Kernel("agent_server", overrides=overrides, environ={}) as kernel:
    kernel.keep_keys(root.parent)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asyncio.run(main(kernel))), flush=True)
"""


@pytest.fixture
def workers(connected: Connected) -> Callable[..., Any]:
    """Processes that are ready to ask for the token, each so many times at once."""

    @contextmanager
    def workers(number: int, count: int) -> Iterator[list[subprocess.Popen[str]]]:
        (connected.root / "demo.1").mkdir(exist_ok=True)
        command = [sys.executable, "-c", WORKER, str(connected.root), str(count)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        made = [subprocess.Popen(command, **pipes) for _ in range(number)]
        try:
            for each in made:
                assert each.stdout is not None and each.stdout.readline() == "ready\n"
            yield made
        finally:
            for each in made:
                each.kill()
                each.communicate()

    return workers


async def answers(workers: list[subprocess.Popen[str]]) -> list[Any]:
    """What they are answered, all at once."""
    for each in workers:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    found = await asyncio.gather(*(asyncio.to_thread(each.communicate) for each in workers))
    return [answer for out, _ in found for answer in (json.loads(out) if out else [])]


@pytest.mark.slow
async def test_four_processes_refresh_once(connected: Connected, workers: Callable[..., Any]) -> None:
    old = connected.age()
    connected.idp.pause = 0.1
    with workers(4, 50) as made:
        found = await answers(made)
    assert len(found) == 200
    assert len(set(found)) == 1 and found[0] != old and found[0] in connected.idp._access
    assert connected.idp.refreshes == 1 and connected.idp.revoked == set()


@pytest.mark.slow
@pytest.mark.parametrize("rotates", [True, False])
async def test_a_process_that_is_killed_behind_the_answer(
    connected: Connected, workers: Callable[..., Any], rotates: bool
) -> None:
    old = connected.age()
    before = connected.account
    connected.idp.rotates = rotates
    with workers(2, 5) as (first, second):

        def kill() -> None:
            # The provider has made the new tokens, and nobody ever gets them.
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
            connected.idp.before_answer = lambda: None

        connected.idp.before_answer = kill
        assert await answers([first]) == []
        assert connected.idp.refreshes == 1 and connected.account == before
        found = await answers([second])
    if rotates:
        # It was used twice, as far as the provider can tell; nothing is left hanging, and it is said what to do.
        assert [answer for answer in found if "connect it again" not in answer[0]] == []
        assert connected.account is None and len(connected.idp.revoked) == 1
    else:
        assert len(set(found)) == 1 and found[0] != old and connected.idp.refreshes == 2
