"""The built-in plugin "core": what every agent needs of its host. Always loaded, under grants and limits."""

from __future__ import annotations

import math
import os
import time
from typing import Annotated, Literal

from mixkit import action, error_decode
from mixkit.errors import FFIError
from mixkit.ffi import FFIGroup, Registry
from mixkit.hookspecs import hookimpl
from mixkit.signals import CANCELED, QUESTION, Owner, unknown
from mixkit.state import State
from mixkit.value import Case, Result, Value, ok

__all__ = ["ffis", "mix_ffis"]

ffis = FFIGroup("core")

_MAX_RANDOM = 64 * 1024
_LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3}


@hookimpl
def mix_ffis(registry: Registry) -> None:
    registry.add(ffis)


@ffis.register("$core_log", quick=True)
def log(state: State, level: Literal["debug", "info", "warning", "error"] | int, message: str) -> None:
    """Write a line to the log. Levels as numbers: 0 debug, 1 info, 2 warning, 3 error."""
    state.log(_LEVELS[level] if isinstance(level, str) else level, message)


@ffis.register("$core_now", quick=True)
def now() -> int:
    """The time: whole milliseconds since 1970, UTC. (A Wasm guest's own `now()` answers seconds.)"""
    return time.time_ns() // 1_000_000


@ffis.register("$core_zone_offset", quick=True)
def zone_offset(zone: str, ms: float) -> Result[float]:
    """Seconds by which the clocks of a time zone ("Europe/Berlin") are before UTC at a time in Unix milliseconds."""
    from datetime import UTC, datetime, timedelta
    from zoneinfo import ZoneInfo

    try:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
        found = at.astimezone(ZoneInfo(zone)).utcoffset()
    except (OverflowError, ValueError):
        raise FFIError(
            f"expected a time zone and a time of the years 1 to 9999, found {zone[:100]!r}, {ms}"
        ) from None
    except (OSError, LookupError):
        raise FFIError(f"there is no time zone {zone[:100]!r} on this host") from None
    assert found is not None
    return found.total_seconds()


@ffis.register("$core_sleep")
async def sleep(state: State, ms: float) -> None:
    """Wait that many milliseconds. A wait beyond the run's deadline ends the run there."""
    import asyncio

    if not math.isfinite(ms) or ms < 0:
        raise FFIError(f"expected milliseconds from 0 on, found {ms}")
    seconds, left = ms / 1000, state.budget.remaining()
    await asyncio.sleep(min(seconds, left))
    if seconds >= left:
        raise state.budget.exceeded("wall_time", f"a sleep of {seconds:g} s")


@ffis.register("$core_env", quick=True)
def env(state: State) -> dict[str, Value]:
    """The run's environment: user, workspace, app, host, time zone, URLs, request. Credentials are tokens."""
    return state.env.to_value()


@ffis.register("$core_random", quick=True)
def random(n: int) -> bytes:
    """Random bytes for cryptography, at most 65536."""
    if not 0 <= n <= _MAX_RANDOM:
        raise FFIError(f"expected 0 to {_MAX_RANDOM} bytes, found {n}")
    return os.urandom(n)


@ffis.register("$core_push_actions", quick=True)
def push_actions(state: State, actions: list[Value]) -> None:
    """Queue actions, in order: entered again after this run, or handed to the caller."""
    for item in actions:
        state.push_action(item)


@ffis.register("$core_get_actions", quick=True)
def get_actions(state: State) -> list[Value]:
    """The queued actions that are entered after this one, in order."""
    return [action.to_value(item) for item in state.actions.waiting]


@ffis.register("$core_set_actions", quick=True)
def set_actions(state: State, actions: list[Value]) -> None:
    """Queue these actions in place of those that would be entered after this one."""
    state.actions.clear()
    push_actions(state, actions)


@ffis.register("$core_push_idle_actions", quick=True)
def push_idle_actions(state: State, actions: list[Value]) -> None:
    """Queue actions for after the answer: they run in order, in a run of their own, whose result nobody gets."""
    for item in actions:
        state.push_action(item, idle=True)


@ffis.register("$core_set_idle_actions", quick=True)
def set_idle_actions(state: State, actions: list[Value]) -> None:
    """Queue these actions for after the answer, in place of those that were."""
    state.actions.idle.clear()
    push_idle_actions(state, actions)


@ffis.register("$core_agent_call")
async def agent_call(state: State, name: str, params: Value) -> Result[Value]:
    """Run another agent of this app, or `APP/AGENT` of another one if that is granted; its result, or its error.

    It runs under what is left of this run's limits.
    """
    result: Value = await state.services.call_agent(state, name, params)
    return result


# -- who waits for the answer ------------------------------------------------------------------------


@ffis.register("$core_progress", quick=True)
def progress(state: State, done: float, total: float | None, message: str | None) -> None:
    """Tell the caller how far the run is: `done` of `total`, if that is known. Nothing if the caller cannot be told."""
    if not math.isfinite(done) or (total is not None and not math.isfinite(total)):
        raise FFIError(f"expected finite numbers, found {done} of {total}")
    if state.caller is not None:
        state.caller.progress(done, total, message)


@ffis.register("$core_ask")
async def ask(state: State, schema: dict[str, Value], message: str) -> Result[Value]:
    """Ask the person who called this agent: `ok(answers)`, a map as the JSON Schema of an object with fields says, or
    `error("declined")`, `error("canceled")`, `error("timeout")`, `error("nobody to ask")`.

    A run may be begun anew with the answer, and asks the same again then, without anybody being bothered: what it does
    before it asks should do no harm if it is done twice.
    """
    if state.caller is None:
        raise FFIError("nobody to ask")
    name = f"ask-{state.caller.number()}"
    params = {"mode": "form", "message": message, "requestedSchema": schema}
    answers = await state.caller.ask({name: {"method": "elicitation/create", "params": params}})
    answer = answers[name]
    if answer["action"] == "accept":
        found: Value = answer.get("content", {})
        return found
    raise FFIError("declined" if answer["action"] == "decline" else "canceled")


# -- signals ----------------------------------------------------------------------------------------


_MOST_SELECTED = 100


def _owner(state: State) -> Owner:
    # The place too: an app that is made again under its name is another one.
    home = None if state.place is None else state.place.home.parent.name
    return Owner(state.env.workspace, state.env.app, state.env.user, home)


@ffis.register("$core_signal_create")
async def signal_create(
    state: State,
    timeout_ms: Annotated[float | None, "after which it is settled as error(timeout); a day if none"] = None,
) -> Result[str]:
    """A new signal's id. Whoever gets it may send once; this user in this app may await and cancel. In a workspace it
    outlives the server: `$core_signal_create(60000)` can be awaited by another run."""
    seconds = None if timeout_ms is None else timeout_ms / 1000
    return await state.services.signals.create(_owner(state), seconds)


@ffis.register("$core_signal_await")
async def signal_await(state: State, id: str, timeout_ms: float | None = None) -> Result[Value]:
    """What is sent to the signal, now or later: `ok(value)`, `error("canceled")`, `error("timeout")` when its deadline
    has passed; another error if it is unknown, or the time of this call is over, and it may be awaited again."""
    _, outcome = await _first(state, [id], timeout_ms)
    if outcome.name == "ok":
        value: Value = outcome.arg
        return value
    if outcome.name == QUESTION:
        raise FFIError("the run that was to settle it asks its caller something")
    raise FFIError(outcome.arg if isinstance(outcome.arg, str) else "the run that was to settle it failed")


@ffis.register("$core_signal_select")
async def signal_select(
    state: State, ids: list[str], timeout_ms: float | None = None
) -> Result[dict[str, Value]]:
    """The first of several signals, 100 at most, that is settled, now or later: `{id, result}`, where the result is
    `ok(value)` or `error(reason)` as `$core_signal_await` answers it."""
    if not 0 < len(ids) <= _MOST_SELECTED:
        raise FFIError(f"expected 1 to {_MOST_SELECTED} signals, found {len(ids)}")
    id, outcome = await _first(state, ids, timeout_ms)
    return {"id": id, "result": outcome}


async def _first(state: State, ids: list[str], timeout_ms: float | None) -> tuple[str, Case]:
    seconds = state.budget.wait(timeout_ms)
    try:
        return await state.services.signals.wait(ids, _owner(state), seconds)
    except TimeoutError:
        state.budget.check_time()
        raise FFIError(f"nothing was sent to the signal within {seconds:g} s") from None


@ffis.register("$core_signal_send")
async def signal_send(state: State, id: str, value: Value) -> Result[None]:
    """Send a value, once, to all who await the signal. An error if it is unknown, or was settled before."""
    await state.services.signals.settle(id, ok(value))


@ffis.register("$core_signal_cancel")
async def signal_cancel(state: State, id: str) -> Result[None]:
    """Settle a signal as `error("canceled")`. An error if it is unknown, or was settled before."""
    found = await state.services.signals.find(id)
    if found.owner != _owner(state):
        raise unknown()
    await state.services.signals.settle(id, CANCELED)


@ffis.register("$decode_error")
def decode_error(error: dict[str, Value]) -> str:
    """A failed run's error map as readable text, with the guest's backtrace."""
    return error_decode.decode_error(error)
