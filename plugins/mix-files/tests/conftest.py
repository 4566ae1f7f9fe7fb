"""Runs that call `$file_*` by way of FFI dispatch, as a guest would."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mix_files.backends import AsyncFileSystem
from mix_files.ffis import group
from mix_files.settings import FilesSettings

from mixkit import codec
from mixkit.app_files import AppFiles
from mixkit.ffi import FFITable
from mixkit.filesystem import Files
from mixkit.grants import ALL, Grants
from mixkit.keyring import KeyRing
from mixkit.limits import Budget, Limits
from mixkit.state import NoServices, State
from mixkit.storage import Place
from mixkit.value import Case

TABLE = FFITable([group])


class Services(NoServices):
    """The kernel, as far as files need one."""

    def __init__(self, settings: FilesSettings) -> None:
        super().__init__()
        self._settings = settings
        self._files = AppFiles(lambda: AsyncFileSystem(settings))

    def settings(self, plugin: str) -> FilesSettings:
        assert plugin == "files"
        return self._settings

    @property
    def files(self) -> AppFiles:
        return self._files

    @property
    def keyring(self) -> KeyRing:
        return KeyRing([bytes(32)], "tests")


class Agent:
    """A run of an app."""

    def __init__(self, place: Place | None, services: Services, grants: Grants, limits: Limits) -> None:
        self.place = place
        self.state = State(place=place, services=services, grants=grants, budget=Budget(limits), code="agent")

    @property
    def files(self) -> Files:
        """Its files, without FFIs in between."""
        assert self.place is not None
        return self.state.services.files.open(self.place)

    async def call(self, name: str, *args: Any) -> Case:
        words = codec.encode(list(args), token=self.state.token_to_handle)
        _, pending = TABLE.dispatch(self.state, f"$file_{name}".encode(), words)
        found = codec.decode(
            await pending if inspect.isawaitable(pending) else pending, token=self.state.token_from_handle
        )
        assert isinstance(found, Case)
        return found

    async def ok(self, name: str, *args: Any) -> Any:
        answer = await self.call(name, *args)
        assert answer.name == "ok", answer.arg
        return answer.arg

    async def refused(self, name: str, *args: Any) -> str:
        answer = await self.call(name, *args)
        assert answer.name == "error", answer
        message: str = answer.arg
        return message


Start = Callable[..., Agent]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    home = tmp_path / "notes.0123abcd" / "data"
    home.mkdir(parents=True)
    return Place("office", "notes", home)


@pytest.fixture
def start(place: Place) -> Start:
    """Starts a run: `start(settings=…, grants=…, limits=…)`."""

    def started(
        *,
        settings: FilesSettings | None = None,
        grants: Grants = ALL,
        limits: Limits | None = None,
        alone: bool = False,
    ) -> Agent:
        services = Services(settings or FilesSettings())
        return Agent(None if alone else place, services, grants, limits or Limits())

    return started


@pytest.fixture
def agent(start: Start) -> Agent:
    return start()
