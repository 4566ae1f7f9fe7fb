"""Calling one FFI from outside of any agent, as an agent's call goes: for the command line and for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from mixkit import codec
from mixkit.environment import Env
from mixkit.grants import ALL, Grants
from mixkit.kernel import Kernel
from mixkit.limits import Budget, Limits
from mixkit.state import State
from mixkit.storage import Place
from mixkit.vm.watchdog import watchdog

__all__ = ["call_ffi"]


async def call_ffi(
    kernel: Kernel,
    name: str,
    args: Sequence[Any] = (),
    *,
    env: Env | None = None,
    limits: Limits | None = None,
    grants: Grants = ALL,
    place: Place | None = None,
) -> Any:
    """Call an FFI in a run of its own, with the hooks that open and close a run, and answer its value.

    Args:
        name: of the FFI, as `"$http_do"`.
        args: Values, in order.
        limits: narrower than the profile's where given.
        place: of the app to whose code the call belongs; none if not given.

    Raises:
        NotFound: the profile has no such FFI.
        GrantError, LimitExceeded, FFIError: as the agent would get them.
    """
    state = State(
        env=env,
        budget=Budget(kernel.limits if limits is None else kernel.limits.narrowed(limits)),
        grants=grants,
        services=kernel,
        code=f"call of {name}",
        place=place,
    )
    # What an FFI does that is not async only stops from another thread.
    alarm = watchdog.add(state.budget.deadline, state.interrupt)
    try:
        kernel.open_state(state)
        words = codec.encode(list(args), token=state.token_to_handle)
        ffi, answer = kernel.ffis.dispatch(state, name.encode(), words)
        if ffi.is_async:
            try:
                answer = await asyncio.wait_for(answer, state.budget.remaining())
            except TimeoutError:
                raise state.budget.exceeded("wall_time") from None
        state.budget.check_call(answer)
        return codec.decode(answer, token=state.token_from_handle)
    finally:
        watchdog.cancel(alarm)
        state.interrupt()
        kernel.close_state(state)
