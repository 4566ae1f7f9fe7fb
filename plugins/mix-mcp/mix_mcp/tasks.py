"""Tasks: calls that go on while nobody waits for them, as the extension `io.modelcontextprotocol/tasks` has them.

Each has one who works on it, in one process. Whoever wants something of it, in any process, writes that into the task
and settles its control, a signal, by which that one is woken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from mix_server.caller import Permission, Resource

from mix_mcp.answers import fits
from mix_mcp.holder import Holder
from mix_mcp.message import INTERNAL, Fault
from mix_mcp.task_store import Task, TaskStore
from mixkit.errors import FFIError, NotFound
from mixkit.signals import Owner
from mixkit.value import ok

if TYPE_CHECKING:
    from mix_server.caller import Caller
    from mix_server.server import Server

    from mix_mcp.exchange import Ask

__all__ = ["EXTENSION", "Tasks"]

EXTENSION: Final = "io.modelcontextprotocol/tasks"

_HOLDERS: Final = ".mcp"
"""Where in the directory of the workspaces it is known which processes live."""

log = logging.getLogger("mixkit.mcp")


class Tasks:
    """The tasks of one workspace, and those on which this process works.

    Args:
        server: which has it.
        workspace: its name.
    """

    def __init__(self, server: Server, workspace: str) -> None:
        self._server = server
        self._workspace = workspace
        # A process is a holder of its own for each workspace in which it has tasks.
        self._holder = Holder(Path(server.settings.ws_dir) / _HOLDERS)
        self._store = TaskStore(lambda: server.store.workspace(workspace).signals(), self._holder)
        self._working: set[asyncio.Task[None]] = set()

    async def begin(
        self, who: Caller, app: str, agent: str, work: Callable[[Ask], Awaitable[dict[str, Any]]]
    ) -> Task:
        """A task that does that for an agent; what `work` is called with asks its owner.

        Raises:
            Fault: there are too many.
        """
        seconds = self._server.settings.postpone_timeout
        try:
            control = await self.new_control(who)
            try:
                task = await asyncio.to_thread(self._store.create, who.named, app, agent, control, seconds)
            except BaseException:
                await self.wake(control)
                raise
        except FFIError as exc:
            raise Fault(INTERNAL, str(exc)) from None
        worker = _Worker(self, who, task.id, control)
        going = asyncio.get_running_loop().create_task(worker.run(work, seconds))
        self._working.add(going)
        going.add_done_callback(self._working.discard)
        return task

    async def find(self, who: Caller, id: str) -> Task | None:
        """Somebody's task; None if there is none of that id, or they may not run its agent any more."""
        task = await asyncio.to_thread(self._store.find, id, who.named)
        if task is None:
            return None
        await self._server.authorizer.ready(who, self._workspace)
        agent = Resource(self._workspace, task.app, task.agent)
        return task if self._server.authorizer.may(who, Permission.RUN, agent) else None

    async def update(self, who: Caller, id: str, responses: dict[str, Any]) -> Task | None:
        """Hand in answers. What was not asked for, or does not fit, is passed over."""

        def take(task: Task) -> Task:
            good = {
                key: answer
                for key, answer in responses.items()
                if key in task.requests and fits(task.requests[key], answer)
            }
            left = {key: request for key, request in task.requests.items() if key not in good}
            answers = task.answers | {task.names[key]: answer for key, answer in good.items()}
            status = task.status if left or task.status != "input_required" else "working"
            return msgspec.structs.replace(task, requests=left, answers=answers, status=status)

        if await self.find(who, id) is None:
            return None
        task = await self.change(id, take)
        if task is not None and not task.requests:
            await self.wake(task.control)
        return task

    async def cancel(self, who: Caller, id: str) -> Task | None:
        """End a task. One that is over stays as it is."""
        found = await self.find(who, id)
        if found is None or found.is_over:
            return found
        task = await self.change(
            id, lambda task: msgspec.structs.replace(task, status="cancelled", requests={})
        )
        if task is not None:
            await self.wake(task.control)
        return task

    async def change(self, id: str, how: Callable[[Task], Task]) -> Task | None:
        """See `TaskStore.change`."""
        return await asyncio.to_thread(self._store.change, id, how)

    async def stop(self) -> None:
        """The process ends: what it works on is stopped, and fails."""
        working = list(self._working)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        self._holder.close()

    async def woken(self, who: Caller, control: str, seconds: float) -> None:
        """Wait until somebody wants something of a task."""
        await self._server.kernel.signals.wait([control], self._owner(who), seconds)

    async def new_control(self, who: Caller) -> str:
        """A signal by which who works on a task hears that somebody wants something of it."""
        return await self._server.kernel.signals.create(
            self._owner(who), self._server.settings.postpone_timeout
        )

    async def wake(self, control: str | None) -> None:
        """Let who works on the task of that control look what is wanted. What nobody works on any more needs it too:
        a signal that is not settled is one of those that its owner may have."""
        if control is not None:
            with contextlib.suppress(FFIError, NotFound):
                await self._server.kernel.signals.settle(control, ok(None))

    def _owner(self, who: Caller) -> Owner:
        return Owner(self._workspace, None, who.named, None)


class _Worker:
    """Works on one task, from its begin to its end."""

    def __init__(self, tasks: Tasks, who: Caller, id: str, control: str) -> None:
        self._tasks = tasks
        self._who = who
        self._id = id
        self._control = control
        self._count = 0
        self._changed = asyncio.Event()

    async def run(self, work: Callable[[Ask], Awaitable[dict[str, Any]]], seconds: float) -> None:
        doing = asyncio.ensure_future(work(self._ask))
        listening = asyncio.ensure_future(self._listen(seconds, doing))
        status, result = "failed", None
        try:
            async with asyncio.timeout(seconds):
                result = msgspec.json.encode(await doing).decode()
            status = "completed"
        except Fault as fault:
            result = msgspec.json.encode({"code": fault.code, "message": fault.text}).decode()
        except TimeoutError:
            result = msgspec.json.encode(
                {"code": INTERNAL, "message": f"it took longer than {seconds:g} s"}
            ).decode()
        except asyncio.CancelledError:
            pass
        except Exception as exc:
            log.error("a task failed: %s", exc, exc_info=exc)
        finally:
            for each in (doing, listening):
                each.cancel()
            await asyncio.wait((doing, listening))
            # Those who have cancelled it have said so already.
            end = asyncio.ensure_future(self._end(status, result))
            await asyncio.shield(end)

    async def _end(self, status: str, result: str | None) -> None:
        await self._tasks.change(
            self._id,
            lambda task: msgspec.structs.replace(task, status=status, requests={}, result=result),
        )
        await self._tasks.wake(self._control)

    async def _ask(self, requests: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the owner, and wait until all of it is answered."""
        keys = {f"{self._id[:8]}-{self._count + i}": name for i, name in enumerate(requests, 1)}
        self._count += len(keys)

        def put(task: Task) -> Task:
            asked = {key: requests[name] for key, name in keys.items()}
            return msgspec.structs.replace(
                task, status="input_required", requests=task.requests | asked, names=task.names | keys
            )

        task = await self._tasks.change(self._id, put)
        while task is not None and not task.is_over:
            if task.answers.keys() >= requests.keys():
                return {name: task.answers[name] for name in requests}
            self._changed.clear()
            await self._changed.wait()
            task = await self._tasks.find(self._who, self._id)
        raise FFIError("the task was cancelled")

    async def _listen(self, seconds: float, doing: asyncio.Future[Any]) -> None:
        """Hear what others want of the task."""
        while True:
            with contextlib.suppress(TimeoutError):
                await self._tasks.woken(self._who, self._control, seconds)
            renewing = asyncio.ensure_future(self._renew())
            try:
                task = await asyncio.shield(renewing)
            except asyncio.CancelledError:
                # Who ends the task settles the signal that it has then.
                await asyncio.wait((renewing,))
                raise
            if task is None or task.is_over:
                doing.cancel()
                return
            self._changed.set()

    async def _renew(self) -> Task | None:
        """The task, with a new signal: what is written from now on wakes again, what was written before is read."""
        control = self._control = await self._tasks.new_control(self._who)
        return await self._tasks.change(self._id, lambda task: msgspec.structs.replace(task, control=control))
