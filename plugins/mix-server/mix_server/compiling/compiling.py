"""Where a server compiles what it is asked to."""

from __future__ import annotations

import asyncio
import base64
import os
import pickle
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from mix_server.admission import Admission
from mix_server.compiling.child import HEAD
from mix_server.errors import Refusal, Stopping
from mixkit.errors import ProfileError
from mixkit.remote_compile import Compilation, RemoteCompileError, Task, ask, check_server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mix_server.settings import ServerSettings

__all__ = ["CompileTimeout", "CompilerEnded", "Compiling", "Elsewhere", "Here", "compiling"]

_IDLE: Final = 60.0
"""Seconds after which a process that nobody needs ends."""
_MEMORY: Final = 2 << 30
"""Bytes of address space of the process that compiles."""
_WAITING: Final = 8
"""Tasks that wait for a turn in each of our processes."""
_ELSEWHERE: Final = 4
"""Tasks that each of our processes hands to another server at once."""
_KEPT: Final = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Variables that it gets: others hold secrets."""


class CompileTimeout(Refusal):
    """The compiler took too long."""

    status = 504

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the compiler was not done after {seconds:g} s, which settings.server.compile_timeout allows"
        )


class CompilerEnded(Refusal):
    """The compiler's process ended without an answer."""

    status = 422

    def __init__(self) -> None:
        super().__init__(
            "the compiler ended without an answer: the sources take more memory than it may have"
        )


class Unreachable(Refusal):
    """The compile server does not do it now."""

    status = 503


class Compiling(Protocol):
    """Compiles."""

    async def compile(self, task: Task) -> Compilation:
        """What comes of a task.

        Raises:
            Refusal: nothing, for no fault of the sources; or they take too much of it; or too many wait.
        """
        ...

    async def stop(self) -> None:
        """The server ends."""
        ...


def compiling(settings: ServerSettings, compilers: Sequence[tuple[str, Any]]) -> Compiling:
    """What the settings say.

    Args:
        compilers: import string and settings of each that the profile has.

    Raises:
        ProfileError: the compile server is none.
    """
    if settings.remote_compile_server is None:
        return Here(compilers, settings.compile_timeout, _places(settings, 1))
    try:
        url = check_server(settings.remote_compile_server)
    except ValueError as exc:
        raise ProfileError(str(exc), "settings.server.remote_compile_server") from None
    places = _places(settings, _ELSEWHERE)
    return Elsewhere(url, settings.remote_compile_token, settings.compile_timeout, places)


def _places(settings: ServerSettings, most: int) -> Admission:
    return Admission(most, most, _WAITING, settings.max_wait, settings.caller_share, _nobody, "compilation")


def _nobody(active: int, waiting: int, paused: int) -> None:
    """Nobody counts them."""


class Elsewhere:
    """Has another server do it."""

    def __init__(self, url: str, token: str | None, seconds: float, places: Admission) -> None:
        self._url, self._token, self._seconds = url, token, seconds
        self._places = places

    async def compile(self, task: Task) -> Compilation:
        try:
            async with self._places:
                return await asyncio.to_thread(ask, self._url, self._token, task, self._seconds)
        except RemoteCompileError as exc:
            if exc.status == 504:
                raise CompileTimeout(self._seconds) from None
            raise Unreachable(str(exc)) from None

    async def stop(self) -> None:
        pass


class Here:
    """Does it in a process, which is started when it is needed and ended when nobody has needed it for a while."""

    def __init__(self, compilers: Sequence[tuple[str, Any]], seconds: float, place: Admission) -> None:
        self._compilers = base64.b64encode(pickle.dumps(list(compilers))).decode()
        self._seconds = seconds
        self._place = place
        self._child: asyncio.subprocess.Process | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Future[int]] = set()
        self._stopping = False

    async def compile(self, task: Task) -> Compilation:
        async with self._place:
            return await self._answer(task)

    async def _answer(self, task: Task) -> Compilation:
        if self._stopping:
            raise Stopping
        if self._timer is not None:
            self._timer.cancel()
        done = False
        try:
            async with asyncio.timeout(self._seconds):
                data = await self._exchange(msgspec.json.encode(task))
            done = True
        except TimeoutError:
            raise CompileTimeout(self._seconds) from None
        except (OSError, asyncio.IncompleteReadError):
            raise CompilerEnded from None
        finally:
            # One that is in the middle of something is of no use any more.
            if not done:
                self._end()
        self._timer = asyncio.get_running_loop().call_later(_IDLE, self._end)
        return msgspec.json.decode(data, type=Compilation)

    async def _exchange(self, task: bytes) -> bytes:
        if self._child is None or self._child.returncode is not None:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "mix_server.compiling.child", str(_MEMORY), self._compilers,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                env={name: os.environ[name] for name in _KEPT if name in os.environ},
            )  # fmt: skip
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(HEAD.pack(len(task)) + task)
        await self._child.stdin.drain()
        head = await self._child.stdout.readexactly(HEAD.size)
        return await self._child.stdout.readexactly(HEAD.unpack(head)[0])

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            if child.returncode is None:
                child.kill()
            ending = asyncio.ensure_future(child.wait())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def stop(self) -> None:
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        self._end()
        await asyncio.gather(*self._ending)
