"""How an agent is run that somebody asks for, by whichever protocol: in a place, and what its guest writes is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mix_server.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from mix_server.admission import Admission
    from mix_server.caller import Caller, Resource
    from mix_server.catalog import Target
    from mixkit.activities import Activities
    from mixkit.environment import Env
    from mixkit.job import RunResult
    from mixkit.kernel import Kernel
    from mixkit.limits import Limits
    from mixkit.waiting import Waiting

__all__ = ["Runs"]


class Runs:
    """The runs of a process.

    Args:
        kernel: runs them.
        admission: the places for them.
        activities: keeps what their guests write.
        max_memory: bytes of all guests' memories, beyond which none is let in.
    """

    def __init__(self, kernel: Kernel, admission: Admission, activities: Activities, max_memory: int) -> None:
        self._kernel = kernel
        self._run = kernel.run
        self._limits = kernel.limits
        self._admission = admission
        self._activities = activities
        self._max_memory = max_memory

    def check_memory(self) -> None:
        """Raise `Overloaded` while the guests have all the memory that they may have together."""
        most, found = self._max_memory, self._kernel.memory_in_use
        if found >= most:
            raise Overloaded(f"the guests have {found} bytes of memory, of at most {most}")

    async def run(
        self,
        target: Target,
        params: Any,
        who: Caller,
        resource: Resource,
        id: str,
        env: Env,
        limits: Limits | None = None,
        spent: float = 0.0,
        told: Callable[[int, str], None] | None = None,
        as_json: bool = False,
        caller: Waiting | None = None,
    ) -> RunResult:
        """Run an agent, when there is a place. Cancelling the task stops it.

        Args:
            target: the agent, which is `resource`.
            params: as `Kernel.run` takes them; what the package says of them was checked.
            who: for whom.
            id: of the run.
            env: what the agent sees.
            limits: narrower than the target's; None for these.
            spent: seconds that loading it took.
            told: takes each line that the guest writes, besides.
            as_json, caller: as in `mixkit.job.RunOptions`.

        Raises:
            Overloaded, Stopping: there is no place.
            MixError: as `Kernel.run`.
        """
        self.check_memory()
        admission = self._admission
        if not admission.enter():
            await admission.queue()
        try:
            if limits is None:
                limits = target.limits
            return await self._run(
                target.program,
                target.entry,
                params,
                spent=spent,
                env=env,
                # PERF: the kernel narrows what it is given by its own limits, which takes a while.
                limits=None if limits is self._limits else limits,
                grants=target.grants,
                run_id=id,
                agents=target.agents(who),
                place=target.place,
                apps=target.apps,
                answer=target.answer,
                pauses=admission.pauses(),
                as_json=as_json,
                caller=caller,
                output=_Output(self._activities, who, resource, id, told),
            )
        finally:
            admission.leave()


class _Output:
    """Takes the lines that the guest of one run writes. Most write none."""

    __slots__ = ("_activities", "_keep", "_of", "_told")

    def __init__(
        self,
        activities: Activities,
        who: Caller,
        resource: Resource,
        id: str,
        told: Callable[[int, str], None] | None,
    ) -> None:
        self._activities = activities
        self._of = who, resource, id
        self._told = told
        self._keep: Callable[[int, str], None] | None = None

    def __call__(self, level: int, text: str) -> None:
        if self._keep is None:
            who, resource, id = self._of
            ws, app, agent = map(str, resource)
            self._keep = self._activities.listener(ws, subject=who.named, app=app, agent=agent, run=id)
        self._keep(level, text)
        if self._told is not None:
            self._told(level, text)
