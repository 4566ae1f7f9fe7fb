"""Agents that tests call: those of the package that the tests are of, whatever they are written in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

from mixkit.cli.runnable import MANIFEST, Runnable, env_of, find_all, limits_of, pick
from mixkit.job import Agents, Target
from mixkit.kernel import Kernel
from mixkit.shape import declared
from mixkit.state import State
from mixkit.storage import Place

__all__ = ["TestedAgents"]


class TestedAgents:
    """Packages by their folders.

    Args:
        kernel: that builds and runs them.
    """

    __test__ = False

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._known: dict[Path, Mapping[str, Runnable]] = {}
        self._lock = threading.Lock()

    def build(self, file: Path) -> None:
        """Build the package of a file, before its agents are called: that takes its time, and may fail.

        Raises:
            MixError: with everything that is wrong.
        """
        folder = _folder_of(file)
        if folder is not None:
            self._package(folder)

    def know(self, folder: Path, agents: Mapping[str, Runnable]) -> None:
        """The agents of a package that was built already."""
        self._known[folder] = agents

    def of(self, file: Path, data: Path) -> Agents | None:
        """What a test in a file calls by name: agents of the package of the file, with what they ask for, and a
        database for each app. None if it is of none.

        Args:
            data: folder of the test's own database, which those of the apps are beside.
        """
        folder = _folder_of(file)
        if folder is None:
            return None

        return self._named(folder, None, data)

    def _named(self, folder: Path, app: str | None, data: Path) -> Agents:
        """The agents of a package, or of one app of it alone."""

        async def resolve(state: State, name: str) -> Target:
            return await asyncio.to_thread(self._target, folder, app, data, name)

        return Agents(resolve)

    def _target(self, folder: Path, app: str | None, data: Path, name: str) -> Target:
        found = {key: agent for key, agent in self._package(folder).items() if app in (None, agent.app)}
        agent = pick(found, str(folder / MANIFEST), name)
        assert agent.app is not None
        return Target(
            self._kernel.load(agent.code, agent.name),
            agent.entry,
            agent.grants,
            env=env_of(agent),
            limits=limits_of(self._kernel, agent),
            place=Place("test", agent.app, data.with_name(f"{data.name}.{agent.app}")),
            apps=agent.apps,
            check=declared(agent.params),
            answer=declared(agent.result),
            # It calls those of its app, as it does where it runs alone.
            agents=self._named(folder, agent.app, data),
        )

    def _package(self, folder: Path) -> Mapping[str, Runnable]:
        with self._lock:
            if folder not in self._known:
                self._known[folder] = find_all(self._kernel, folder)
            return self._known[folder]


def _folder_of(file: Path) -> Path | None:
    """The nearest folder at or above a file that makes a package."""
    return next((folder for folder in file.resolve().parents if (folder / MANIFEST).is_file()), None)
