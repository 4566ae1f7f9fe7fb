"""What agents can do with secrets, and what they cannot."""

from __future__ import annotations

import asyncio
import logging
import pickle
import shutil
from typing import Any, TypeAlias

import pytest

from mixkit import codec, tagged_json
from mixkit.errors import GrantError, KeyRingError, MixError
from mixkit.grants import ALL, Grants
from mixkit.header_fields import authorize
from mixkit.kernel import Kernel
from mixkit.keyring import KeyRing
from mixkit.state import State
from mixkit.value import Token

World: TypeAlias = Any  # of conftest

SECRET = "sk_live_9f8e7d6c5b4a"


async def test_a_secret_is_kept_and_given_as_a_token(world: World) -> None:
    agent = world.agent()
    assert await agent.ok("secrets_list") == []
    assert "no secret 'stripe'" in await agent.refused("secrets_get", "stripe")
    assert not world.file().exists()
    await agent.ok("secrets_set", "stripe", SECRET)
    token = await agent.ok("secrets_get", "stripe")
    assert isinstance(token, Token) and token.reveal() == SECRET.encode()
    await agent.ok("secrets_set", "stripe", b"\x00\xff")
    assert await agent.read("stripe") == b"\x00\xff"
    await agent.ok("secrets_set", "copy", token)
    assert await agent.read("copy") == SECRET.encode()
    await agent.ok("secrets_set", "empty", "")
    assert await agent.read("empty") == b""
    rows = await agent.ok("secrets_list")
    assert [(row["name"], row["kind"]) for row in rows] == [
        ("copy", "secret"), ("empty", "secret"), ("stripe", "secret"),
    ]  # fmt: skip
    assert [row["version"] for row in rows] == [3, 4, 2]
    assert await agent.ok("secrets_delete", "copy") is True
    assert await agent.ok("secrets_delete", "copy") is False
    await agent.ok("secrets_set", "copy", "x")
    assert (await agent.ok("secrets_list"))[0]["version"] == 5, "no version is given twice"


async def test_tokens_are_apart_from_secrets(world: World) -> None:
    from mix_secrets.vaults import name_of, vault_of

    agent = world.agent()
    name = name_of(agent.state, "token", "github")
    vault_of(agent.state).put(name, b"gho_1", {"scope": "repo", "expires": 3})
    assert (await agent.ok("secrets_getToken", "github")).reveal() == b"gho_1"
    assert await agent.ok("secrets_tokenExtra", "github") == {"scope": "repo", "expires": 3}
    assert "no secret 'github'" in await agent.refused("secrets_get", "github")
    await agent.ok("secrets_set", "github", "another")
    assert await agent.ok("secrets_deleteToken", "github") is True
    assert "no token 'github'" in await agent.refused("secrets_tokenExtra", "github")
    assert await agent.read("github") == b"another"
    vault_of(agent.state).put(name, b"gho_2")
    assert await agent.ok("secrets_tokenExtra", "github") == {}


async def test_users_apps_and_workspaces_are_apart(world: World) -> None:
    await world.agent().ok("secrets_set", "stripe", SECRET)
    others = [
        world.agent(user="bob"),
        world.agent(user=None),
        world.agent(user="Ada"),
        world.agent(world.place(app="crm")),
        world.agent(world.place(ws="second")),
    ]
    for other in others:
        assert "no secret" in await other.refused("secrets_get", "stripe")
        assert await other.ok("secrets_list") == []
        assert await other.ok("secrets_delete", "stripe") is False
        await other.ok("secrets_set", "stripe", "another")
    assert await world.agent().read("stripe") == SECRET.encode()


async def test_an_app_that_is_made_anew_finds_nothing_and_the_old_run_neither(world: World) -> None:
    first = world.place()
    old = world.agent(first)
    await old.ok("secrets_set", "stripe", SECRET)
    shutil.rmtree(first.home.parent)
    new = world.agent(world.place(made="2"))
    assert "no secret" in await new.refused("secrets_get", "stripe")
    assert "is gone" in await old.refused("secrets_get", "stripe")
    assert "is gone" in await old.refused("secrets_set", "stripe", "x")
    await new.ok("secrets_set", "other", "x")
    from mix_secrets.vaults import vault_of

    assert len(vault_of(new.state).entries()) == 1, "what the old one had goes"


async def test_a_workspace_that_is_made_anew_finds_nothing(world: World) -> None:
    old = world.agent()
    await old.ok("secrets_set", "stripe", SECRET)
    shutil.rmtree(world.root / "main")
    new = world.agent()  # the same folder of the app even
    assert "no secret" in await new.refused("secrets_get", "stripe")
    await new.ok("secrets_set", "stripe", "new")
    assert await new.read("stripe") == b"new"
    shutil.rmtree(world.root / "main")
    assert "is gone" in await new.refused("secrets_get", "stripe")
    assert not (world.root / "main").exists()


async def test_code_that_belongs_to_no_app_has_none(world: World) -> None:
    agent = world.agent()
    agent.state.place = None
    assert "--database" in await agent.refused("secrets_get", "x")


@pytest.mark.parametrize(
    "value",
    [None, 12345678, 1.5, True, ["x"], {"x": SECRET}],
    ids=["null", "int", "number", "bool", "array", "map"],
)
async def test_a_value_that_is_no_secret_is_refused_without_being_shown(world: World, value: Any) -> None:
    message = await world.agent().refused("secrets_set", "x", value)
    assert "expected a string, binary or token" in message
    assert "12345678" not in message and SECRET not in message


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "a\x00b", "\u202e"])
async def test_names_that_nothing_can_have(world: World, name: str) -> None:
    message = await world.agent().refused("secrets_set", name, "x")
    assert "1 to 200 printable characters" in message and message.isprintable()


async def test_sizes_and_numbers_are_bounded(world: World) -> None:
    from mix_secrets.settings import SecretsSettings

    world.settings = SecretsSettings(max_bytes=10, most=2)
    agent = world.agent()
    assert "secrets.max_bytes" in await agent.refused("secrets_set", "a", "x" * 11)
    await agent.ok("secrets_set", "a", "x" * 10)
    await agent.ok("secrets_set", "b", "")
    assert "secrets.most" in await agent.refused("secrets_set", "c", "")
    await agent.ok("secrets_set", "a", "y")
    await world.agent(user="bob").ok("secrets_set", "c", "")


async def test_names_that_are_not_granted(world: World) -> None:
    await world.agent().ok("secrets_set", "other", SECRET)
    narrow = Grants(["*"], {"secrets.names": ["stripe"]})
    agent = world.agent(grants=ALL & narrow)
    await agent.ok("secrets_set", "stripe", "x")
    assert [row["name"] for row in await agent.ok("secrets_list")] == ["stripe"]
    for call in (("set", "other", "x"), ("get", "other"), ("getToken", "other"), ("delete", "other"),
                 ("deleteToken", "other"), ("tokenExtra", "other")):  # fmt: skip
        with pytest.raises(GrantError, match=r"secrets\.names"):
            await agent.call(f"secrets_{call[0]}", *call[1:])
    neither = world.agent(grants=narrow & Grants(["*"], {"secrets.names": ["other"]}))
    assert await neither.ok("secrets_list") == []


async def test_reading_a_token_takes_a_grant_in_each_layer(world: World) -> None:
    may = Grants(["*"], {"secrets.reveal": True})
    agent = world.agent(grants=may)
    token = await agent.call("token_of_string", SECRET)
    assert isinstance(token, Token)
    assert await agent.call("token_reveal", token) == SECRET
    await agent.ok("secrets_set", "raw", b"\xff")
    assert await agent.call("token_reveal", await agent.ok("secrets_get", "raw")) == b"\xff"
    for grants in (ALL, may & ALL, ALL & may, may & Grants(["*"], {"secrets.reveal": False})):
        closed = world.agent(grants=grants)
        with pytest.raises(GrantError, match=r"secrets\.reveal"):
            await closed.call("token_reveal", await closed.call("token_of_string", SECRET))


async def test_a_token_is_a_credential_and_goes_nowhere_else(world: World) -> None:
    agent = world.agent()
    await agent.ok("secrets_set", "stripe", SECRET)
    token = await agent.ok("secrets_get", "stripe")
    fields: list[tuple[str, str]] = []
    authorize(fields, None, token)
    assert fields == [("Authorization", f"Bearer {SECRET}")]
    for show in (repr, str, "{}".format, lambda token: f"{[token]!r}"):
        assert SECRET not in show(token)
    for write in (pickle.dumps, tagged_json.dumps, codec.encode):
        with pytest.raises((TypeError, MixError)) as raised:
            write(token)
        assert SECRET not in str(raised.value)
    handle = codec.encode([token], token=agent.state.token_to_handle)
    assert SECRET.encode() not in handle


async def test_nothing_shows_a_secret(
    world: World, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    agent = world.agent()
    for number in range(20):
        await agent.ok("secrets_set", f"name{number}", SECRET + str(number))
    await agent.ok("secrets_delete", "name3")
    messages = [
        await agent.refused("secrets_get", "name3"),
        await agent.refused("secrets_set", "", SECRET),
        await agent.refused("secrets_set", "big", SECRET * 10_000),
    ]
    world.ring = KeyRing([b"x" * 32], "another")
    messages.append(await agent.refused("secrets_get", "name1"))
    assert "needs the key" in messages[-1]
    assert SECRET not in "".join(messages) + caplog.text + "".join(capfd.readouterr())
    found = world.bytes_on_disk()
    assert b"name1" in found and SECRET.encode() not in found
    assert SECRET.encode("utf-16-le") not in found


async def test_many_runs_at_once(world: World) -> None:
    async def one(number: int) -> None:
        agent = world.agent(user=f"u{number % 4}")
        await agent.ok("secrets_set", f"n{number}", f"v{number}")
        assert await agent.read(f"n{number}") == f"v{number}".encode()

    await asyncio.gather(*map(one, range(40)))


async def test_a_kernel_uses_the_key_of_its_workspaces(world: World) -> None:
    world.root.mkdir()
    place = world.place()
    with Kernel("all") as kernel:
        kernel.keep_keys(world.root)
        state = State(services=kernel, place=place, grants=ALL)
        words = codec.encode(["stripe", SECRET])
        _, answer = kernel.ffis.dispatch(state, b"$secrets_set", words)
        assert codec.decode(await answer).name == "ok"
    assert (world.root / ".keyring" / "keys").stat().st_mode & 0o777 == 0o600
    with Kernel("all") as kernel:
        kernel.keep_keys(world.root)
        state = State(services=kernel, place=place, grants=ALL)
        _, answer = kernel.ffis.dispatch(state, b"$secrets_get", codec.encode(["stripe"]))
        found: Any = codec.decode(answer, token=state.token_from_handle)
        assert found.arg.reveal() == SECRET.encode()
        with pytest.raises(GrantError, match=r"secrets\.reveal: expected true"):
            kernel.ffis.check_grants(Grants([], {"secrets.reveal": "*"}))
        with pytest.raises(GrantError, match=r"secrets\.names: expected a list"):
            kernel.ffis.check_grants(Grants([], {"secrets.names": "stripe"}))
    with (
        Kernel("all", environ={"MIXKIT_SECRETS_KEY": "A" * 43 + "="}) as kernel,
        pytest.raises(KeyRingError, match="was sealed with the key"),
    ):
        kernel.keep_keys(world.root)


async def test_a_secret_goes_out_as_a_credential(world: World) -> None:
    world.root.mkdir()
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        with Kernel("all", overrides={"settings.http.dangerous_http_mode": True}) as kernel:
            kernel.keep_keys(world.root)
            state = State(services=kernel, place=world.place(), grants=ALL)

            async def call(name: str, *args: Any) -> Any:
                words = codec.encode(list(args), token=state.token_to_handle)
                ffi, found = kernel.ffis.dispatch(state, name.encode(), words)
                return codec.decode(await found if ffi.is_async else found, token=state.token_from_handle)

            await call("$secrets_set", "stripe", SECRET)
            token = (await call("$secrets_get", "stripe")).arg
            assert (await call("$http_do", {"url": url, "oauthToken": token}))["status"] == 204
            basic = {"username": "ada", "password": token}
            assert (await call("$http_do", {"url": url, "basicAuth": basic}))["status"] == 204
    assert f"Authorization: Bearer {SECRET}".encode() in heads[0]
    assert b"Authorization: Basic " in heads[1]
