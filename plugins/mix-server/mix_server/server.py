"""The server: everything that requests share. One object a process, made before a fork and used after it."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mix_server.access.accounts import make
from mix_server.access.calls import may_call
from mix_server.access.server_key import ServerKey
from mix_server.access.store import GrantStore
from mix_server.activity import call_by, result_of
from mix_server.admission import Admission
from mix_server.catalog import Catalog
from mix_server.clients import Clients
from mix_server.compiling.compiling import compiling
from mix_server.cors import Cors
from mix_server.databases import Databases
from mix_server.errors import Unsupported
from mix_server.followings import Followings
from mix_server.held import Held
from mix_server.idle import IdleRuns
from mix_server.messages.bridge import Bridge
from mix_server.messages.feeds import Feeds
from mix_server.metrics import Metrics
from mix_server.postponed import Postponed
from mix_server.rates import Rates
from mix_server.runs import Runs
from mix_server.settings import MAX_WALL_TIME, ServerSettings
from mix_server.sign_in.refresh import tokens_of
from mix_server.sign_in.store import Providers
from mix_server.streams import Streams
from mix_server.uploads import Uploads
from mixkit.activities import Activities
from mixkit.errors import ProfileError, StorageError
from mixkit.package import WorkspaceStore
from mixkit.vm.spawned import CLEANUP

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

    from mix_server.caller import Caller, Resource
    from mixkit.kernel import Kernel
    from mixkit.vault import Vault

__all__ = ["Server"]

log = logging.getLogger("mixkit.server")

_UPLOADS = ".uploads"
"""Where in it the parts are of files that have not come as a whole yet."""

_BUS = ".bus"
"""Where in the directory of the workspaces the processes meet that share messages."""

_LAST_WORDS = CLEANUP + 1.0
"""Seconds that cancelled runs get to end before the process does."""


class Server:
    """What serves.

    Args:
        kernel: runs the agents. The server closes it when it stops.
        token: the operator's, if the settings have none.

    Raises:
        ProfileError: settings that do not go together, a workspace directory that is not one, a storage that forgets.

    Attributes:
        kernel, settings: as given.
        cors: whose scripts may ask.
        rates: how often each caller may ask; None without a limit.
        authorizer: decides who asks, and what they may do.
        store: the workspaces.
        grants: who may do what in them.
        activities: what is done, and what guests write.
        key: by which tokens are signed here.
        catalog: the agents in them, ready to run.
        tokens: those of accounts that users have connected.
        admission: the places for runs, and for calls of databases.
        runs: runs agents in these places.
        compiling: where sources are compiled.
        idle: the idle actions of runs, which come after their answers.
        databases: those of the apps.
        followings: the live queries, which streams share.
        feeds: the topics, which streams share.
        postponed: the runs whose callers do not wait for them.
        bridge: brings what a broker carries, if there is one.
        topics_prefix: the first level of what short topics stand for.
        uploads: files that come in parts.
        streams: the answers that are being sent part by part.
        clients: what is waited for from them.
        metrics: the counters.
        ending: what plugins want called when the process ends, while all of the above is still there.
    """

    def __init__(self, kernel: Kernel, token: str | None = None) -> None:
        settings: ServerSettings = kernel.settings("server")
        if token is not None:
            settings = msgspec.structs.replace(settings, token=token)
        if kernel.limits.wall_time > MAX_WALL_TIME:
            raise ProfileError(
                f"expected at most {MAX_WALL_TIME:g} s for what runs in a request, found "
                f"{kernel.limits.wall_time:g} s",
                "limits.wall_time",
            )
        threads = kernel.settings("kernel").threads
        if settings.max_runs > threads:
            raise ProfileError(
                f"expected at most as many runs as the kernel has threads, {threads}, "
                f"found {settings.max_runs}; raise settings.kernel.threads",
                "settings.server.max_runs",
            )
        if not settings.rate_limit and kernel.origins["settings.server.rate_burst"] != "default":
            raise ProfileError("expected rate_limit beside it, found none", "settings.server.rate_burst")
        self.kernel = kernel
        self.settings = settings
        # What a setting names and is not there is said with the setting, before anybody looks for it.
        kernel.assembly.refuse_absent()
        self.store = _open_store(settings.ws_dir, kernel)
        self.grants = GrantStore(self.store)
        self.activities = Activities(self.store, kernel.settings("kernel"))
        self.key = ServerKey(settings.server_key, lambda: kernel.keyring)
        self.cors = Cors(settings.cors_origins)
        self.rates = Rates(settings.rate_limit, settings.rate_burst) if settings.rate_limit else None
        self.authorizer = make(settings, self.grants, self.key)
        kernel.keep_keys(Path(settings.ws_dir))
        # All workers, and whoever else serves these workspaces, hear one another.
        kernel.share_bus(Path(settings.ws_dir) / _BUS)
        # What somebody waits for outlives this process, and may come from another one.
        kernel.keep_signals(lambda name, make: self.store.workspace(name).signals(make=make))
        self.catalog = Catalog(kernel, self.store, settings.env, self._may_call, self._called)
        self.metrics = Metrics()
        self.tokens = tokens_of(kernel)
        self.admission = Admission(
            settings.max_runs,
            settings.max_waiting_runs,
            settings.max_waiting,
            settings.max_wait,
            settings.caller_share,
            self.metrics.runs,
        )
        self.runs = Runs(kernel, self.admission, self.activities, settings.max_memory)
        self.compiling = compiling(settings, kernel.assembly.compilers_made_of())
        self.idle = IdleRuns(kernel, self.admission, settings.postpone_timeout)
        self.databases = Databases(kernel.databases, self.store, self.admission)
        held = Held(settings.live_memory)
        self.followings = Followings(self.databases, settings, held)
        self.feeds = Feeds(lambda: kernel.bus, held)
        carrier = kernel.carrier()
        self.topics_prefix = carrier.prefix
        self.bridge = (
            None
            if carrier.broker is None
            else Bridge(lambda: kernel.shared_bus, carrier.broker, carrier.prefix)
        )
        self.postponed = Postponed(lambda: kernel.signals, settings.postpone_timeout)
        self.uploads = Uploads(Path(settings.ws_dir) / _UPLOADS, settings.uploads_limit, settings.file_limit)
        self.streams = Streams(settings.max_streams, settings.stream_stall, settings.caller_share)
        self.clients = Clients()
        self.ending: list[Callable[[], Awaitable[None]]] = []
        self._end: float | None = None

    async def _may_call(self, who: Caller, calling: Resource, called: Resource) -> bool:
        return await may_call(self.authorizer, self.grants, who, calling, called)

    def _called(
        self,
        who: Caller,
        calling: Resource,
        called: Resource,
        run: str,
        seconds: float,
        failure: BaseException | None,
    ) -> None:
        call = who, calling, called, run, time.time_ns(), seconds, result_of(failure)
        self.activities.record_later(called.workspace, call_by, call)

    def vault(self, workspace: str) -> Vault:
        """What is kept for a workspace that is secret.

        Raises:
            NotFound: there is no such workspace.
            Unsupported: no plugin of the profile keeps secrets.
        """
        root = self.store.workspace(workspace).root
        if not self.kernel.assembly.vaults:
            raise Unsupported(
                "expected a plugin that keeps secrets in the profile of this server, found none; name secrets in its "
                "plugins"
            )
        return self.tokens.vault(root, workspace)

    def providers(self, workspace: str) -> Providers:
        """The providers by which users of a workspace may connect accounts. Errors as those of `vault`."""
        return Providers(self.vault(workspace))

    def start(self) -> None:
        """The process begins to serve; it does not fork any more."""
        log.info("serving the workspaces in %s", self.settings.ws_dir)
        _before_the_end(self.begin_to_stop)
        if self.bridge is not None:
            self.bridge.start()

    def begin_to_stop(self) -> None:
        """No body and no stream is waited for any more; runs may finish."""
        if self._end is None:
            self._end = time.monotonic() + self.settings.grace_period
        self.clients.stop()
        self.streams.stop()

    async def stop(self) -> None:
        """The process ends: wait for the runs that were cancelled, and free everything."""
        self.begin_to_stop()
        assert self._end is not None
        for end in self.ending:
            await end()
        await self.postponed.stop(self._end - time.monotonic())
        await self.idle.stop(self._end - time.monotonic())
        left = await self.admission.stop(_LAST_WORDS)
        if left:
            log.warning("%d runs had not ended %g s after they were cancelled", left, _LAST_WORDS)
        await self.followings.stop()
        await self.tokens.stop()
        await self.feeds.stop()
        if self.bridge is not None:
            await self.bridge.stop()
        await self.compiling.stop()
        self.databases.close()
        await asyncio.to_thread(self.activities.close)
        self.metrics.flush()
        self.kernel.close()
        log.info("stopped")

    def not_ready(self) -> str | None:
        """Why this process should get no requests now, or None."""
        if self.admission.stopping:
            return "stopping"
        if not Path(self.settings.ws_dir).is_dir():
            return "the directory of the workspaces is gone"
        return None


def _before_the_end(notify: Callable[[], None]) -> None:
    """Call `notify` in the loop as soon as a signal tells the HTTP server to stop.

    It says so to the application only when all answers have been sent, and some of them have no end of their own.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if callable(handler) and handler is not signal.default_int_handler:

            def heard(number: int, frame: FrameType | None, then: Callable[..., Any] = handler) -> None:
                loop.call_soon_threadsafe(notify)
                then(number, frame)

            signal.signal(number, heard)


def _open_store(ws_dir: str, kernel: Kernel) -> WorkspaceStore:
    try:
        return WorkspaceStore(ws_dir, kernel.databases, kernel.files if kernel.filesystem else None)
    except StorageError as exc:
        raise ProfileError(str(exc), "storage") from exc
    except OSError as exc:
        raise ProfileError(
            f"expected a directory, or a place where one can be made, at {ws_dir!r}: {exc.strerror}",
            "settings.server.ws_dir",
        ) from None
