"""What the server keeps in a vault: apart from apps, taken by one, locked across processes; and who gets an account."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from mix_secrets.names import Name
from mix_secrets.settings import SecretsSettings
from mix_secrets.shared import SharedVault, SharedVaults
from mix_secrets.vaults import FOLDER, found_in

from mixkit.errors import GrantError, NotFound
from mixkit.grants import ALL, Grants
from mixkit.keyring import KeyRing
from mixkit.value import Token
from mixkit.vault import Kept, Label

World: TypeAlias = Any  # of conftest

ONE = bytes(range(32))
ACCOUNT = Label("account", "ada", "github")
GRANTED = Grants(["*"], {"secrets.accounts": ["github"]})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    found = tmp_path / "main"
    found.mkdir()
    return found


def vault_in(root: Path) -> SharedVault:
    return SharedVaults(SecretsSettings()).of(root, "main", KeyRing([ONE], "a test"))


def test_what_is_kept_is_read_and_taken_once(root: Path) -> None:
    vault = vault_in(root)
    assert vault.read(ACCOUNT) is None and vault.take(ACCOUNT) is None and vault.labels("account") == []
    first = vault.write(ACCOUNT, b"gho_1", {"scopes": ["repo"]})
    assert vault.read(ACCOUNT) == Kept(b"gho_1", {"scopes": ["repo"]}, first)
    second = vault.write(ACCOUNT, b"gho_2", {})
    vault.write(Label("provider", "", "github"), b"", {})
    assert second > first
    assert [label for label, _ in vault.labels("account")] == [ACCOUNT]
    assert vault.labels("account", "bob") == []
    assert vault.take(ACCOUNT, first) is None, "it is another one by now"
    other = vault_in(root)
    assert [other.take(ACCOUNT), vault.take(ACCOUNT)] == [Kept(b"gho_2", {}, second), None]


def test_it_is_no_apps_and_stays_when_apps_go(root: Path) -> None:
    vault = vault_in(root)
    vault.write(ACCOUNT, b"gho_1", {})
    kept = found_in(root / FOLDER, "main", KeyRing([ONE], "a test"))
    for app in ("gone.1", "gone.2"):
        # What is stored sweeps what belongs to apps that are gone.
        kept.put(Name(app, "ada", "secret", "x"), b"x")
    assert [entry.name.app for entry in kept.entries()] == ["", "gone.2"]
    assert vault.labels("account", "ada")


async def test_one_task_at_a_time_has_a_lock(root: Path) -> None:
    inside = most = 0

    async def work() -> None:
        nonlocal inside, most
        async with vault_in(root).locked(ACCOUNT, 30):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.002)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(8)))
    assert most == 1
    async with vault_in(root).locked(ACCOUNT, 30):
        with pytest.raises(TimeoutError):
            async with vault_in(root).locked(ACCOUNT, 0):
                raise AssertionError
        async with vault_in(root).locked(ACCOUNT._replace(user="eve"), 0):
            pass


async def test_a_process_that_is_killed_lets_go(root: Path) -> None:
    code = """
import asyncio, sys, time
from pathlib import Path
from mix_secrets.shared import SharedVaults
from mix_secrets.names import Name
from mix_secrets.settings import SecretsSettings
from mixkit.keyring import KeyRing
from mixkit.vault import Label
async def main():
    vault = SharedVaults(SecretsSettings()).of(Path(sys.argv[1]), "main", KeyRing([bytes(range(32))], "x"))
    async with vault.locked(Label("account", "ada", "github"), 0):
        print("held", flush=True)
        time.sleep(600)
asyncio.run(main())
"""
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with pytest.raises(TimeoutError):
            async with vault_in(root).locked(ACCOUNT, 0.05):
                raise AssertionError
        os.kill(process.pid, signal.SIGKILL)
    async with vault_in(root).locked(ACCOUNT, 30):
        pass


async def test_no_workspace_no_lock(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        async with vault_in(tmp_path / "gone").locked(ACCOUNT, 0):
            raise AssertionError


def connected(agent: Any, found: dict[str, Token]) -> list[str]:
    """Let the accounts of a run's user be these; answers the names that are asked for."""
    asked = []

    async def account_token(state: Any, name: str) -> Token | None:
        asked.append(name)
        return found.get(name)

    agent.state.services.account_token = account_token
    return asked


async def test_an_account_is_for_who_is_granted_it(world: World) -> None:
    tokens = {"github": Token("gho_1"), "google": Token("ya29")}
    open_to = world.agent(grants=GRANTED)
    connected(open_to, tokens)
    assert (await open_to.ok("secrets_getToken", "github")).reveal() == b"gho_1"
    for grants in (ALL, GRANTED & ALL, GRANTED & Grants(["*"], {"secrets.accounts": ["google"]})):
        closed = world.agent(grants=grants)
        asked = connected(closed, tokens)
        assert "no token 'github'" in await closed.refused("secrets_getToken", "github")
        assert asked == []
    assert "no token 'google'" in await open_to.refused("secrets_getToken", "google")
    named = world.agent(grants=GRANTED & Grants(["*"], {"secrets.names": [], "secrets.accounts": ["github"]}))
    connected(named, tokens)
    assert (await named.ok("secrets_getToken", "github")).reveal() == b"gho_1"
    with pytest.raises(GrantError, match=r"secrets\.accounts"):
        await named.call("secrets_getToken", "google")


async def test_a_token_of_the_app_goes_before_the_account(world: World) -> None:
    from mix_secrets.vaults import name_of, vault_of

    agent = world.agent(grants=GRANTED)
    asked = connected(agent, {"github": Token("gho_account")})
    vault_of(agent.state).put(name_of(agent.state, "token", "github"), b"gho_app", {"scope": "repo"})
    assert (await agent.ok("secrets_getToken", "github")).reveal() == b"gho_app"
    assert asked == [] and await agent.ok("secrets_tokenExtra", "github") == {"scope": "repo"}


async def test_what_is_known_of_an_account_and_its_end(world: World) -> None:
    place = world.place()
    vault = SharedVaults(SecretsSettings()).of(world.root / "main", "main", world.ring)
    vault.write(ACCOUNT, b"sealed", {"email": "ada@example.com"})
    vault.write(ACCOUNT._replace(user="bob"), b"sealed", {"email": "bob@example.com"})
    agent = world.agent(place, grants=GRANTED)
    assert await agent.ok("secrets_tokenExtra", "github") == {"email": "ada@example.com"}
    assert await agent.ok("secrets_list") == []
    assert await world.agent(place).ok("secrets_deleteToken", "github") is False
    assert await agent.ok("secrets_deleteToken", "github") is True
    assert await agent.ok("secrets_deleteToken", "github") is False
    assert [label.user for label, _ in vault.labels("account")] == ["bob"]
