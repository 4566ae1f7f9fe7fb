"""Runs that call `$secrets_*` as a guest would, in workspaces that are folders."""

from __future__ import annotations

import base64
import inspect
from pathlib import Path
from typing import Any

import pytest
from mix_secrets.ffis import group
from mix_secrets.settings import SecretsSettings

from mixkit import codec
from mixkit.environment import Env
from mixkit.ffi import FFITable
from mixkit.grants import ALL, Grants
from mixkit.keyring import KeyRing
from mixkit.limits import Budget, Limits
from mixkit.state import NoServices, State
from mixkit.storage import Place

TABLE = FFITable([group])
ONE, TWO = bytes(range(32)), bytes(range(32, 64))


def key_text(*keys: bytes) -> str:
    return " ".join(base64.b64encode(key).decode() for key in keys)


class _Services(NoServices):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def settings(self, plugin: str) -> Any:
        assert plugin == "secrets"
        return self._world.settings

    @property
    def keyring(self) -> KeyRing:
        return self._world.ring


class Agent:
    """A run of an app for a user."""

    def __init__(self, state: State) -> None:
        self.state = state

    async def call(self, name: str, *args: Any) -> Any:
        words = codec.encode(list(args), token=self.state.token_to_handle)
        _, answer = TABLE.dispatch(self.state, f"${name}".encode(), words)
        if inspect.isawaitable(answer):
            answer = await answer
        return codec.decode(answer, token=self.state.token_from_handle)

    async def ok(self, name: str, *args: Any) -> Any:
        answer = await self.call(name, *args)
        assert answer.name == "ok", answer.arg
        return answer.arg

    async def refused(self, name: str, *args: Any) -> str:
        answer = await self.call(name, *args)
        assert answer.name == "error", answer
        message: str = answer.arg
        return message

    async def read(self, name: str) -> bytes:
        token = await self.ok("secrets_get", name)
        content: bytes = token.reveal()
        return content


class World:
    """What runs live in: a directory of workspaces, master keys, settings."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ring = KeyRing([ONE], "a test")
        self.settings = SecretsSettings()

    def place(self, ws: str = "main", app: str = "shop", made: str = "1") -> Place:
        home = self.root / ws / f"{app}.{made}" / "data"
        home.parent.mkdir(parents=True, exist_ok=True)
        return Place(ws, app, home)

    def agent(self, place: Place | None = None, user: str | None = "ada", grants: Grants = ALL) -> Agent:
        place = place or self.place()
        env = Env(user=user, workspace=place.workspace, app=place.app)
        services = _Services(self)
        return Agent(
            State(env=env, grants=grants, budget=Budget(Limits()), services=services, place=place, code="x")
        )

    def file(self, ws: str = "main") -> Path:
        return self.root / ws / ".secrets" / "secrets.db"

    def bytes_on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.root.rglob("*")) if path.is_file())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "workspaces")
