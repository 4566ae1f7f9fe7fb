"""What tools are called."""

from __future__ import annotations

import re

import pytest
from mix_mcp.tool import named

FIT = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def pairs(*agents: str) -> dict[tuple[str, str], str | None]:
    """What is wished for each of these, as `APP/AGENT` or `APP/AGENT=NAME`."""
    found: dict[tuple[str, str], str | None] = {}
    for each in agents:
        agent, _, name = each.partition("=")
        app, _, rest = agent.partition("/")
        found[app, rest] = name or None
    return found


def test_a_name_says_app_and_agent() -> None:
    assert named(pairs("crm/add", "crm/bring", "a/x=take")) == {
        "crm_add": ("crm", "add"),
        "crm_bring": ("crm", "bring"),
        "take": ("a", "x"),
    }


LONG = "x" * 61
HASHED = next(name for name in named(pairs("b/c_d", "b_c/d")) if name.startswith("b_c_d_"))


@pytest.mark.parametrize(
    "agents",
    [
        ("b/c_d", "b_c/d", "b/c.d"),
        (f"app/{LONG}", f"app/{LONG}y"),
        # Names that are nothing but other letters.
        ("a/ü", "a/é"),
        # A name that an app has chosen for its own, and by rule is another one's.
        ("victim/pay", "other/steal=victim_pay"),
        ("one/a=same", "two/a=same"),
        # One that is what another one is called since it clashes.
        ("b/c_d", "b_c/d", f"x/y={HASHED}"),
        ("b/c_d", "b_c/d", "/".join(("b", HASHED.removeprefix("b_")))),
    ],
)
def test_each_agent_has_a_name_of_its_own(agents: tuple[str, ...]) -> None:
    wishes = pairs(*agents)
    found = named(wishes)
    assert set(found.values()) == set(wishes) and len(found) == len(wishes)
    assert list(found) == sorted(found) and all(FIT.fullmatch(name) for name in found)
    # In whatever order they are found.
    assert named(dict(reversed(wishes.items()))) == found
    # None has what two of them want.
    assert not {"victim_pay", "same", "b_c_d"} & found.keys()
