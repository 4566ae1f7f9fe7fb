"""Greets people for agents of mixkit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit import hookimpl

if TYPE_CHECKING:
    from mixkit.cli.group import Group
    from mixkit.contracts import Check
    from mixkit.ffi import Registry
    from mixkit.state import State


@hookimpl
def mix_ffis(registry: Registry) -> None:
    from mix_greeting.ffis import ffis

    registry.add(ffis)


@hookimpl
def mix_settings() -> str:
    return "mix_greeting.settings:GreetingSettings"


@hookimpl
def mix_state_open(state: State) -> None:
    from mix_greeting.guests import Guests

    state.put(Guests(state.services.settings("greeting").most))


@hookimpl
def mix_state_close(state: State) -> None:
    from mix_greeting.guests import Guests

    guests = state.get(Guests)
    if guests is not None:
        guests.report(state.run_id)


@hookimpl
def mix_commands(group: Group) -> None:
    group.lazy("greet", "mix_greeting.cli:greet", "Greet somebody.")


@hookimpl
def mix_doctor(kernel: Any) -> list[Check]:
    from mix_greeting.doctor import checks

    return checks(kernel.settings("greeting"))
