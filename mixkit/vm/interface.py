"""The guest interface, from outside: whether what a module imports and exports fits what the host has and calls.

Told before anything runs, so that code which cannot be linked is refused where it is loaded and installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from mixkit.contracts import FuncType, HostImports
from mixkit.errors import EngineError
from mixkit.near import meant
from mixkit.vm.guest import HOST_IMPORTS
from mixkit.vm.manifest import ALLOC, CALL, DIRECT, ENTRY_PREFIX

__all__ = ["check", "import_problems", "problems", "refuse"]

_EXPORTS = {
    "_initialize": FuncType((), ()),
    "mix_alloc": ALLOC,
    "mix_call": CALL,
    "mix_init": FuncType(("i32", "i32"), ()),
    "mix_resume": FuncType(("i32",), ()),
}
_SHOWN = 8
"""Problems that an error lists; a module made for another host has hundreds."""


class Linkable(Protocol):
    """What is known of a module, compiled or only read."""

    @property
    def imports(self) -> Mapping[tuple[str, str], FuncType | str]: ...
    @property
    def exports(self) -> Mapping[str, FuncType | str]: ...


def check(module: Linkable) -> None:
    """Refuse a module that could not be linked or entered.

    Raises:
        EngineError: names each import and export that does not fit.
    """
    refuse("no guest of mixkit", problems(module))


def refuse(what: str, found: Sequence[str]) -> None:
    """Raise an `EngineError` that lists the first problems, if there are any."""
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise EngineError(f"{what}: {'; '.join(found[:_SHOWN])}{more}")


def problems(module: Linkable) -> list[str]:
    """What keeps the module from being a guest, a line each."""
    return [*import_problems(module), *_export_problems(module)]


def import_problems(module: Linkable, offers: HostImports = HOST_IMPORTS) -> list[str]:
    """What the module imports and the host does not offer, a line each."""
    found = []
    for (space, name), kind in module.imports.items():
        offered = offers.get((space, name))
        if offered is None:
            known = [n for s, n in offers if s == space]
            spaces = dict.fromkeys(s for s, _ in offers)
            hint = (
                meant(name, known) or f"; that module has {', '.join(known)}"
                if known
                else f"; guests import from {', '.join(spaces)}"
            )
            found.append(f"import {space}.{name}: no host function of that name{hint}")
        elif kind != offered.type:
            found.append(f"import {space}.{name}: expected {offered.type}, found {kind}")
    return found


def _export_problems(module: Linkable) -> list[str]:
    found = []
    exports = module.exports
    if exports.get("memory") != "memory":
        found.append(f"export memory: expected a memory, found {exports.get('memory', 'nothing')}")
    required = ["mix_alloc"]
    if not any(name.startswith(ENTRY_PREFIX) for name in exports):
        required.append("mix_call")
    for name, expected in _EXPORTS.items():
        kind = exports.get(name)
        if (kind is not None or name in required) and kind != expected:
            found.append(f"export {name}: expected {expected}, found {kind or 'nothing'}")
    for name, kind in exports.items():
        if name.startswith(ENTRY_PREFIX) and kind != DIRECT:
            found.append(f"export {name}: expected {DIRECT}, found {kind}")
    return found
