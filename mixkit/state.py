"""What an FFI may touch: the state of the run that called it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from mixkit import action, codec
from mixkit.action import ActionQueue
from mixkit.environment import Env
from mixkit.errors import (
    CancelledRun,
    FFIError,
    FileError,
    GrantError,
    InternalError,
    KeyRingError,
    NotFound,
    ProfileError,
    StorageError,
    printable,
)
from mixkit.grants import ALL, Grants, check_apps
from mixkit.limits import Budget, Limits
from mixkit.outside import is_ours
from mixkit.value import Token

if TYPE_CHECKING:
    # PERF: whoever lists FFIs needs none of them.
    from mixkit.app_files import AppFiles
    from mixkit.bus import FollowedBus
    from mixkit.contracts import Compiled
    from mixkit.databases import Databases
    from mixkit.keyring import KeyRing
    from mixkit.signals import Signals
    from mixkit.storage import Place
    from mixkit.waiting import Waiting

__all__ = ["LINE_COST", "Services", "State", "guest_log", "weight"]

T = TypeVar("T")

guest_log = logging.getLogger("mix-vm")
"""Where the output of guests goes."""

LINE_COST = 64
"""Bytes that a line counts against `log_size` beside its own: time, level, run and code stand around it."""

_VALUE_COST = 64
"""Bytes of memory that a value takes beside its contents."""

_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)


class Services(Protocol):
    """What the kernel does for an FFI on request."""

    @property
    def signals(self) -> Signals:
        """The signals of the run's workspace, or of this kernel's process."""
        ...

    @property
    def bus(self) -> FollowedBus:
        """The bus inside this kernel's process."""
        ...

    @property
    def databases(self) -> Databases:
        """The databases of apps. Raises `StorageError` where there is no storage."""
        ...

    @property
    def files(self) -> AppFiles:
        """The files of apps. Raises `FileError` where there is no file system."""
        ...

    @property
    def keyring(self) -> KeyRing:
        """What seals and signs for this server. Raises `KeyRingError` where there is no master key that fits."""
        ...

    def compile(self, code: bytes) -> Compiled:
        """Compile Wasm with the engine that takes it, or find it compiled. It takes seconds, and cannot be stopped
        before the engine's own limits do. Raises `EngineError` for what is no valid module, or too much to compile,
        and `ProfileError` where there is no engine."""
        ...

    def settings(self, plugin: str) -> Any:
        """The settings object of the plugin."""
        ...

    async def intercept(self, request: Any) -> Any | None:
        """The first answer that a plugin's `mix_http_intercept` gives, or None."""
        ...

    async def account_token(self, state: State, name: str) -> Token | None:
        """The access token of an account that the user of a run has connected, or None. Raises `FFIError` if there is
        one and it cannot be had now."""
        ...

    async def call_agent(self, state: State, name: str, params: Any) -> Any:
        """Run another agent under this run's budget."""
        ...


class NoServices:
    """For FFIs called outside a kernel, in tests of a plugin: no settings, nobody to intercept, no agents."""

    def __init__(self) -> None:
        from mixkit.local_bus import LocalBus
        from mixkit.local_signals import LocalSignals

        self.signals: Signals = LocalSignals()
        self.bus: FollowedBus = LocalBus()

    @property
    def databases(self) -> Databases:
        raise StorageError("expected a storage, found none: this state belongs to no kernel")

    @property
    def files(self) -> AppFiles:
        raise FileError("expected a file system, found none: this state belongs to no kernel")

    @property
    def keyring(self) -> KeyRing:
        raise KeyRingError("expected a key ring, found none: this state belongs to no kernel")

    def compile(self, code: bytes) -> Compiled:
        raise ProfileError("expected an engine, found none: this state belongs to no kernel", "engines")

    def settings(self, plugin: str) -> Any:
        raise NotFound(f"no settings of plugin {plugin!r}: this state belongs to no kernel")

    async def intercept(self, request: Any) -> Any | None:
        return None

    async def account_token(self, state: State, name: str) -> Token | None:
        return None

    async def call_agent(self, state: State, name: str, params: Any) -> Any:
        raise NotFound(f"no agent {name!r}: this state belongs to no kernel")


def weight(words: bytes) -> int:
    """Bytes that the value of some codec words takes in memory, about."""
    return len(words) + _VALUE_COST * codec.count(words)


class State:
    """State of one run. Made by the kernel; plugins put their resources on it and find them again.

    Attributes:
        env: the environment that the run sees.
        budget: what the run may still use; nested runs share it.
        grants: which FFIs it may call, with which options.
        actions: what the run has queued.
        postponed: what runs that it called have put off until the answer is sent, as `mixkit.job.Postponed`.
        services: settings, interception and agent calls, done by the kernel.
        code: name of the code that runs, for logs.
        place: where the database of the app is whose code runs; None for code that belongs to none.
        output: takes each line that the guest writes, with its level, beside the log; called from any thread.
        caller: who waits for the answer, if they can be told and asked something.
    """

    def __init__(
        self,
        *,
        env: Env | None = None,
        budget: Budget | None = None,
        grants: Grants = ALL,
        services: Services | None = None,
        run_id: str | None = None,
        code: str = "",
        place: Place | None = None,
        output: Callable[[int, str], None] | None = None,
        caller: Waiting | None = None,
    ) -> None:
        self._run_id = run_id
        self.env = env or Env()
        self.budget = budget or Budget(Limits())
        self.grants = grants
        self.actions = ActionQueue()
        self.postponed: list[Any] = []
        self.services: Services = services or NoServices()
        self.code = code
        self.place = place
        self.output = output
        self.caller = caller
        self._places: dict[str, Place] = {}
        self._interrupts: list[Callable[[], None]] = []
        self._interrupted = False
        self._resources: dict[Any, tuple[Any, Callable[[Any], None] | None]] = {}
        self._handles: dict[bytes, Token] = {}
        self._handle_of: dict[Token, bytes] = {}
        self._objects: dict[Token, tuple[Any, Callable[[Any], None] | None]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._closes = False

    @property
    def run_id(self) -> str:
        """Identity of the run, in every log line. Drawn when first asked for, unless it was given."""
        if self._run_id is None:
            self._run_id = os.urandom(8).hex()
        return self._run_id

    # -- resources of plugins -----------------------------------------------------------------

    def put(self, resource: T, close: Callable[[T], None] | None = None) -> T:
        """Keep a plugin's resource under its own type until the run ends, when `close(resource)` runs.

        Raises:
            CancelledRun: the run has ended meanwhile; the resource was closed at once.
        """
        with self._lock:
            if type(resource) in self._resources:
                raise InternalError(f"the state already holds a {type(resource).__name__}")
            if not self._closed:
                self._resources[type(resource)] = (resource, close)
                self._closes = self._closes or close is not None
                return resource
        return self._refuse(resource, close)

    def get(self, kind: type[T]) -> T | None:
        """The resource of that exact type, or None."""
        found = self._resources.get(kind)
        return found[0] if found else None

    # -- databases of other apps --------------------------------------------------------------

    def place_of(self, app: str) -> Place:
        """Where the database of another app of the workspace is: the one way to it.

        Raises:
            GrantError: the grant option `db.apps` does not open it, whether there is such an app or not.
            NotFound: there is none, or not the one that was there when this run first asked, or this run was
                started without other apps.
        """
        for layer in self.grants.opened("db.apps"):
            if layer == "*":
                continue
            if layer is not None:
                check_apps(layer)
            if layer is None or app not in layer:
                raise GrantError(
                    f"the database of app {app!r:.80} is not granted to {self.code or 'this code'}; its manifest must "
                    "name it in the option db.apps and the installation must grant it"
                )
        from mixkit.databases import Apps, gone

        apps = self.get(Apps)
        if apps is None:
            raise NotFound(f"no app {app!r:.80}: this run was started alone, without other apps")
        place = apps.resolve(app)
        # What was read in one app must not be written into another that has its name by now.
        first = self._places.setdefault(app, place)
        if place != first:
            raise gone(first)
        return place

    # -- stopping what waits ------------------------------------------------------------------

    @contextmanager
    def interruptible(self, stop: Callable[[], None]) -> Iterator[None]:
        """Within it, `stop` is called from another thread when the run is stopped; at once if it has been.

        For FFIs that are not async and may wait: `stop` must make what they wait for end soon, and must not block.
        """
        with self._lock:
            self._interrupts.append(stop)
            late = self._interrupted
        try:
            if late:
                stop()
            yield
        finally:
            with self._lock:
                self._interrupts.remove(stop)

    def interrupt(self) -> None:
        """The run is being stopped: call what is inside `interruptible`."""
        with self._lock:
            self._interrupted = True
            found = list(self._interrupts)
        for stop in found:
            stop()

    # -- handles: host objects that a guest holds ---------------------------------------------

    def hold(self, obj: T, close: Callable[[T], None] | None = None) -> Token:
        """A token by which the guest can name a host object later. Counts against the limit `handles`.

        Raises:
            LimitExceeded: too many are held; the object stays the caller's.
            CancelledRun: the run has ended meanwhile; the object was closed at once.
        """
        token = Token(b"")
        with self._lock:
            if not self._closed:
                self.budget.spend("handles")
                self._objects[token] = (obj, close)
                return token
        return self._refuse(obj, close)

    def _refuse(self, obj: T, close: Callable[[T], None] | None) -> NoReturn:
        # NOTE: an FFI that was cancelled may still be opening something when the run is already closed.
        if close is not None:
            close(obj)
        raise CancelledRun(f"run {self.run_id} has ended, it can hold no {type(obj).__name__} any more")

    def held(self, token: Token, kind: type[T]) -> T:
        """The object behind a token that `hold` gave.

        Raises:
            FFIError: this run has no such handle, it was released, or it is of another kind.
        """
        found = self._objects.get(token)
        if found is None or not isinstance(found[0], kind):
            raise FFIError(f"the handle is not an open {kind.__name__} of this run")
        return found[0]

    def release(self, token: Token) -> None:
        """Close and forget a held object; unknown tokens are ignored, so releasing twice is harmless."""
        with self._lock:
            found = self._objects.pop(token, None)
            handle = self._handle_of.pop(token, None)
            if handle is not None:
                del self._handles[handle]
        self.budget.release("handles", (found is not None) + (handle is not None))
        if found and found[1]:
            found[1](found[0])

    # -- tokens across the guest border -------------------------------------------------------

    def token_to_handle(self, token: Token) -> bytes:
        """The bytes that stand for a token inside this run's guest; the content never crosses."""
        with self._lock:
            handle = self._handle_of.get(token)
            if handle is None:
                self.budget.spend("handles")
                handle = os.urandom(16)
                self._handles[handle] = token
                self._handle_of[token] = handle
            return handle

    def token_from_handle(self, handle: bytes) -> Token | None:
        """The token behind a handle of this run, or None for other bytes, which the codec then refuses."""
        return self._handles.get(bytes(handle))

    # -- output -------------------------------------------------------------------------------

    def log(self, level: int, message: str) -> None:
        """A line of the guest's. Level 0 debug, 1 info, 2 warning, 3 error.

        Counts against `log_size`: its bytes, and `LINE_COST` for what stands around it in a log.
        """
        self.budget.check_size("log_size", len(message))
        text = printable(message)
        self.budget.spend("log_size", len(text.encode()) + LINE_COST)
        level = max(0, min(level, 3))
        guest_log.log(_LEVELS[level], "%s", text, extra={"run_id": self.run_id, "guest": self.code})
        if self.output is not None:
            self.output(level, text)

    def push_action(self, value: Any, *, idle: bool = False) -> None:
        """Queue an action given as its Map; see `mixkit.action.parse`. Its next actions count as well.

        It is kept until the run ends, so its size counts against `memory`, apart from what the guest's own takes.

        Args:
            idle: it is for after the answer.
        """
        parsed = action.parse(value)
        self.budget.spend("actions", action.length(parsed))
        self.budget.spend("memory", weight(codec.encode(value, token=lambda token: b"")))
        (self.actions.put_off if idle else self.actions.push)(parsed)

    @property
    def must_close(self) -> bool:
        """Whether it holds something that `close` has to close."""
        return self._closes or bool(self._objects)

    # -- the end ------------------------------------------------------------------------------

    def close(self) -> list[BaseException]:
        """Close all handles and then all resources, newest first. Answers what their close functions raised.

        The budget gets its handles back, because the run that called this one goes on with it.
        """
        with self._lock:
            if self._closed:
                return []
            self._closed = True
            if not (self._resources or self._objects or self._handles):
                return []
            entries = [*self._resources.values(), *self._objects.values()]
            self.budget.release("handles", len(self._objects) + len(self._handles))
            self._resources.clear()
            self._objects.clear()
            self._handles.clear()
            self._handle_of.clear()
        failures: list[BaseException] = []
        ours: BaseException | None = None
        for obj, close in reversed(entries):
            if close is not None:
                try:
                    close(obj)
                except BaseException as exc:  # The others must be closed, whatever this one raised.
                    ours = exc if is_ours(exc) else ours
                    failures.append(exc)
        if ours is not None:
            raise ours
        return failures
