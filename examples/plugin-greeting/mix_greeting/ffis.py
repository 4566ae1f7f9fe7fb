"""What agents may call."""

from __future__ import annotations

from mix_greeting.guests import Guests
from mixkit import FFIGroup, Result, State

__all__ = ["ffis"]

ffis = FFIGroup("greeting")


@ffis.register("$greeting_hello")
def hello(state: State, name: str) -> Result[str]:
    """A greeting for somebody. Answers `error(…)` for an empty name, and for too many people."""
    _guests(state).add(name)
    return f"{state.services.settings('greeting').greeting}, {name}!"


@ffis.register("$greeting_wait")
async def wait(state: State, name: str, seconds: float) -> Result[str]:
    """The same, after a pause. The pause ends with the run, at the latest at its deadline."""
    import asyncio

    await asyncio.sleep(seconds)
    return hello(state, name)


@ffis.register("$greeting_guests")
def guests(state: State) -> list[str]:
    """Whom this run has greeted, in order."""
    return list(_guests(state).names)


def _guests(state: State) -> Guests:
    found = state.get(Guests)
    assert found is not None, "mix_state_open puts it there"
    return found
