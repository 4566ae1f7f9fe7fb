"""Tasks as they are kept: records beside the signals of their workspace, for every worker, and behind a restart.

A record is changed by whoever has read the version before, so that of two who change it at once one begins again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mixkit.errors import Conflict, FFIError
from mixkit.signals import new_id
from mixkit.storage import SaveOptions

if TYPE_CHECKING:
    from mix_mcp.holder import Holder
    from mixkit.storage import Database

__all__ = ["KEPT", "LOST", "Task", "TaskStore"]

KEPT: Final = 3_600.0
"""Seconds for which a task is kept."""
LOST: Final = {"code": -32603, "message": "the server was stopped while the task ran"}
_OWNED: Final = 100
"""Tasks that somebody may have that have not ended."""
_TYPE: Final = "mcp.task"
_NEW: Final = SaveOptions(original_id_always=True)
_ONCE: Final = SaveOptions(original_id_always=True, unchanged=True)
_OPEN: Final = '_rmx_type == "mcp.task" && owner == $owner && open == true'
_OLD: Final = '_rmx_type == "mcp.task" && until < $now'
_POLL: Final = 500
"""Milliseconds after which a client may ask again."""


class Task(msgspec.Struct, frozen=True):
    """A task.

    Attributes:
        id: which nobody can guess.
        owner: whose it is: to others it is not there.
        app, agent: what it runs.
        status: working, input_required, completed, failed or cancelled.
        created, changed: Unix milliseconds.
        deadline: Unix milliseconds after which nobody works on it any more.
        holder: the process that works on it, see `Holder`.
        control: the signal by which who works on it is woken; None if nobody does.
        requests: what is asked and not answered, under names that are the task's own; `names` are those of the agent.
        answers: what was answered, under the agent's names, and not taken yet.
        result: the result of the call, or the error, as JSON.
    """

    id: str
    owner: str
    app: str
    agent: str
    status: str
    created: int
    changed: int
    deadline: int
    holder: str
    control: str | None = None
    requests: dict[str, Any] = {}
    names: dict[str, str] = {}
    answers: dict[str, Any] = {}
    result: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether it does not change any more."""
        return self.status in ("completed", "failed", "cancelled")

    def shown(self) -> dict[str, Any]:
        """As clients read it."""
        found: dict[str, Any] = {
            "taskId": self.id,
            "status": self.status,
            "createdAt": _iso(self.created),
            "lastUpdatedAt": _iso(self.changed),
            "ttlMs": int(KEPT * 1000),
            "pollIntervalMs": _POLL,
        }
        if self.status == "input_required":
            found["inputRequests"] = self.requests
        elif self.status == "completed":
            found["result"] = msgspec.Raw((self.result or "{}").encode())
        elif self.status == "failed":
            found["error"] = msgspec.Raw(self.result.encode()) if self.result else LOST
        return found


class TaskStore:
    """The tasks of a workspace. All of it is called in threads.

    Args:
        database: answers where they are.
        holder: this process, which works on those that are made here.
    """

    def __init__(self, database: Callable[[], Database], holder: Holder) -> None:
        self._database = database
        self._holder = holder

    def create(self, owner: str, app: str, agent: str, control: str, seconds: float) -> Task:
        """A new task, whose work may take so long.

        Raises:
            FFIError: the owner has too many.
        """
        database, now = self._database(), _now()
        with database.query(_OLD, {"now": now}, limit=1_000) as rows:
            old = [row["_rmx_id"] for row in rows]
        if old:
            database.delete(old)
        with database.query(_OPEN, {"owner": owner}, limit=_OWNED) as rows:
            holders = [row["holder"] for row in rows if row["deadline"] > now]
            alive = {name for name in set(holders) if self._holder.lives(name)}
            if sum(name in alive for name in holders) >= _OWNED:
                raise FFIError(
                    f"you have {_OWNED} tasks that have not ended, which is the limit; cancel some"
                )
        deadline = now + int(seconds * 1000)
        task = Task(new_id(), owner, app, agent, "working", now, now, deadline, self._holder.name, control)
        database.save([_record(task)], _NEW)
        return task

    def find(self, id: str, owner: str) -> Task | None:
        """The task of that id, if it is theirs. One on which nobody works any more has failed."""
        found = self._read(id)
        if found is None or found[0].owner != owner or found[0].created + KEPT * 1000 < _now():
            return None
        task = found[0]
        if not task.is_over and (task.deadline < _now() or not self._holder.lives(task.holder)):
            return self.change(id, _lost)
        return task

    def change(self, id: str, how: Callable[[Task], Task]) -> Task | None:
        """Change a task that is not over; answers it as it is then, None if it is not there."""
        while True:
            found = self._read(id)
            if found is None or found[0].is_over:
                return None if found is None else found[0]
            task, revision = found
            changed = msgspec.structs.replace(how(task), changed=_now())
            try:
                self._database().save([_record(changed) | {"_rmx_rev": revision}], _ONCE)
            except Conflict:
                continue
            return changed

    def _read(self, id: str) -> tuple[Task, Any] | None:
        record = self._database().get(f"task:{id}") if len(id) == 32 and id.isalnum() else None
        if record is None or record.get("_rmx_type") != _TYPE:
            return None
        return msgspec.json.decode(record["task"], type=Task), record["_rmx_rev"]


def _record(task: Task) -> dict[str, Any]:
    return {
        "_rmx_id": f"task:{task.id}",
        "_rmx_type": _TYPE,
        "owner": task.owner,
        "open": not task.is_over,
        "deadline": task.deadline,
        "holder": task.holder,
        "until": task.created + int(KEPT * 1000),
        # One text, since what a client sends is no record: names of fields, numbers.
        "task": msgspec.json.encode(task).decode(),
    }


def _lost(task: Task) -> Task:
    return msgspec.structs.replace(task, status="failed", requests={}, result=None)


def _now() -> int:
    return int(time.time() * 1000)


def _iso(moment: int) -> str:
    return (
        datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
