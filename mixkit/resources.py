"""What all runs of a kernel share: databases, files, SQL, keys, messages, and the hooks of plugins around a run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mixkit.app_files import AppFiles
from mixkit.assembly import Assembly
from mixkit.bus import FollowedBus
from mixkit.databases import Databases
from mixkit.errors import FileError, MixError, NotFound, PluginError, StorageError
from mixkit.importing import load_object
from mixkit.keyring import VARIABLE, KeyRing, Keys
from mixkit.local_bus import LocalBus
from mixkit.local_signals import LocalSignals
from mixkit.outside import foreign, is_ours
from mixkit.plugins import call_each, each
from mixkit.signals import Signals
from mixkit.sql import SqlEngine
from mixkit.state import State
from mixkit.value import Token
from mixkit.vault import Vaults

if TYPE_CHECKING:
    from mixkit.shared_bus import SharedBus
    from mixkit.storage import Database
    from mixkit.topics import Carrier

__all__ = ["Resources"]

_log = logging.getLogger("mixkit.kernel")


class Resources:
    """What plugins give to the runs of one kernel, beside their FFIs.

    Args:
        assembly: the profile that they are of.
        environ: where the master keys may be.

    Attributes:
        profile, manager, origins, limits, ffis, storage, filesystem: of the assembly.
        signals: promises (`mixkit.signals`), of this process unless `keep_signals` was called.
        bus: messages on topics, inside this process (`mixkit.bus`) unless `share_bus` was called.
        has_open, has_close: whether a plugin has the hook.
    """

    def __init__(self, assembly: Assembly, environ: Mapping[str, str]) -> None:
        self.assembly = assembly
        self.profile = assembly.profile
        self.manager = assembly.manager
        self.origins = assembly.origins
        self.limits = assembly.limits
        self.ffis = assembly.ffis
        self.storage = storage = assembly.storage
        self.filesystem = filesystem = assembly.filesystem
        key_file = assembly.own.key_file
        self._keys = Keys(environ.get(VARIABLE), None if key_file is None else Path(key_file))
        self._databases = Databases(lambda: self._make("storage", storage)) if storage else None
        self._files = AppFiles(lambda: self._make("filesystem", filesystem)) if filesystem else None
        self._sql: SqlEngine | None = None
        self._vaults: Vaults | None = None
        self._making = threading.Lock()
        self.signals: Signals = LocalSignals()
        self.bus: FollowedBus = LocalBus()
        self._shared_bus: SharedBus | None = None
        self.has_open = bool(self.manager.hook.mix_state_open.get_hookimpls())
        self.has_close = bool(self.manager.hook.mix_state_close.get_hookimpls())

    def _make(self, kind: str, path: str) -> Any:
        try:
            with foreign(self.assembly.failed(f"{path!r} failed", path)):
                return self.assembly.make(path)
        except MixError as exc:
            raise StorageError(f"the {kind} {path!r} cannot be made: {exc}") from exc

    def _offered(self, kind: str, offered: Mapping[str, str], does: str, usual: str) -> Any:
        """What the first plugin of the profile offers. `NotFound`, naming one of ours, if none does."""
        if not offered:
            raise NotFound(
                f"expected a plugin that {does} in profile {self.profile.name!r}, found none; "
                f"name {usual} in its plugins"
            )
        return self._make(kind, next(iter(offered.values())))

    def settings(self, plugin: str) -> Any:
        """The settings object of a plugin of the profile."""
        return self.assembly.settings(plugin)

    # -- data ---------------------------------------------------------------------------------

    @property
    def databases(self) -> Databases:
        """The databases of apps, in the storage that the profile names.

        Raises:
            StorageError: it names none.
        """
        if self._databases is None:
            raise StorageError(
                f'expected a storage in profile {self.profile.name!r}, found none; name one with storage = "…", '
                "and its plugin in plugins"
            )
        return self._databases

    @property
    def files(self) -> AppFiles:
        """The files of apps, in the file system that the profile names.

        Raises:
            FileError: it names none.
        """
        if self._files is None:
            raise FileError(
                f"expected a file system in profile {self.profile.name!r}, found none; name one with "
                'filesystem = "async", and its plugin, files, in plugins'
            )
        return self._files

    @property
    def sql(self) -> SqlEngine:
        """What runs SQL over records, of the first plugin of the profile that offers it.

        Raises:
            NotFound: none does.
            StorageError: it cannot be made.
        """
        if self._sql is None:
            with self._making:
                if self._sql is None:
                    self._sql = self._offered(
                        "engine for SQL", self.assembly.sql_engines, "runs SQL", "duckdb"
                    )
        return self._sql

    def belonging(self, kind: str) -> Callable[..., Any] | None:
        """What judges records of that type when a workspace is imported (`mix_belongings`); None if nobody does."""
        path = self.assembly.belongings.get(kind)
        return None if path is None else cast("Callable[..., Any]", load_object(path))

    # -- keys ---------------------------------------------------------------------------------

    def keep_keys(self, home: Path) -> None:
        """Let `keyring` be that of the workspaces in `home`, and see that it fits what is stored there.

        Raises:
            KeyRingError: it does not, or cannot be used.
        """
        self._keys = self._keys.of(home)
        self._keys.check()

    @property
    def keys(self) -> Keys:
        """Where the key ring comes from."""
        return self._keys

    @property
    def keyring(self) -> KeyRing:
        """What seals and signs for this server. Raises `KeyRingError` where there is no master key that fits."""
        return self._keys.ring()

    @property
    def vaults(self) -> Vaults:
        """What keeps secrets of workspaces, of the first plugin of the profile that offers it.

        Raises:
            NotFound: none does.
            StorageError: it cannot be made.
        """
        if self._vaults is None:
            with self._making:
                if self._vaults is None:
                    self._vaults = self._offered("vault", self.assembly.vaults, "keeps secrets", "secrets")
        return self._vaults

    # -- messages -----------------------------------------------------------------------------

    @property
    def shared_bus(self) -> SharedBus:
        """The bus that processes share, once `share_bus` was called."""
        assert self._shared_bus is not None
        return self._shared_bus

    def share_bus(self, directory: Path) -> None:
        """Let `bus` be one with all processes that name the same directory. Starts nothing: it may be called before a
        fork, and before the first run."""
        from mixkit.shared_bus import SharedBus

        self.bus = self._shared_bus = SharedBus(directory)

    def carrier(self) -> Carrier:
        """Where the messages of agents go: what the first plugin says that knows."""
        from mixkit.topics import Carrier

        found = (carrier for _, carrier in call_each(self.manager, "mix_topics", kernel=self))
        return next((carrier for carrier in found if carrier is not None), Carrier())

    def keep_signals(self, open: Callable[[str, bool], Database]) -> None:
        """Let the signals of workspaces be kept in databases, so that all processes have them and they outlive these.

        Args:
            open: the database for the signals of a workspace, made on wish if it is not there. `NotFound` if there is
                no such workspace, or no database.
        """
        from mixkit.kept_signals import KeptSignals

        self.signals = KeptSignals(open, LocalSignals(), bus=lambda: self.bus)

    async def intercept(self, request: Any) -> Any | None:
        """The first answer to an outgoing request that a plugin gives, or None."""
        return await self._first("mix_http_intercept", request=request)

    async def account_token(self, state: State, name: str) -> Token | None:
        """The access token of an account that the user of a run has connected, or None.

        Raises:
            FFIError: there is one, and it cannot be had now.
        """
        found: Token | None = await self._first("mix_account_token", Token, state=state, name=name)
        return found

    async def _first(self, hook: str, kind: type = object, /, **arguments: Any) -> Any | None:
        """The first answer of a hook's implementations that is one, which must be of that kind."""
        for plugin, ask in each(self.manager, hook):
            with foreign(lambda reason: PluginError(f"{hook} failed: {reason}", plugin)):  # noqa: B023
                answer = ask(**arguments)
                if hasattr(answer, "__await__"):
                    answer = await answer
            if answer is None:
                continue
            if not isinstance(answer, kind):
                raise PluginError(f"{hook} answers a {kind.__name__}, found {type(answer).__name__}", plugin)
            return answer
        return None

    # -- the state of a run -------------------------------------------------------------------

    def open_state(self, state: State) -> None:
        """Let every plugin put its resources on a run's state."""
        if self.has_open:
            for _ in call_each(self.manager, "mix_state_open", state=state):
                pass

    def close_state(self, state: State) -> None:
        """Let every plugin clean up, then close what the state holds. Nothing that fails here hides the result."""
        if self.has_close:
            for plugin, close in each(self.manager, "mix_state_close"):
                try:
                    close(state=state)
                except BaseException as exc:
                    if is_ours(exc):
                        raise
                    _log.exception("mix_state_close of plugin %s failed, run %s", plugin, state.run_id)
        for failure in state.close():
            _log.error("closing a resource of run %s failed", state.run_id, exc_info=failure)

    # -- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Close what was made."""
        if self._shared_bus is not None:
            self._shared_bus.stop()
        if self._databases is not None:
            self._databases.close()
