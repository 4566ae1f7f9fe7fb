"""What a package says of its agents, beside what their code says of itself: they may not contradict each other.

Code says it in the section `mix.manifest` of a Wasm module, or by the names of its exports. Where either is silent
there is nothing to contradict: the package may leave types to the code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol, cast

from mixkit._fault import step
from mixkit.contracts import Module
from mixkit.errors import EngineError, GuestError, PackageError
from mixkit.grants import overlap
from mixkit.near import meant
from mixkit.package.archive import Archive
from mixkit.package.manifest import ENTRY, AgentSpec, param_types
from mixkit.package.manifest import Manifest as PackageManifest
from mixkit.schema import Type
from mixkit.subtype import misfit
from mixkit.vm import wasm
from mixkit.vm.manifest import Manifest, read_manifest

__all__ = ["Packed", "check", "check_agent"]

_WASM: Final = b"\0asm"
_SECTION: Final = "mix.manifest"


class Packed(Protocol):
    """What says something of agents, beside their code: a package, or an app of an export."""

    @property
    def manifest(self) -> PackageManifest: ...

    @property
    def archive(self) -> Archive: ...


def check(package: Packed) -> None:
    """Refuse a package whose manifest says what its code denies.

    Raises:
        PackageError: names the field of the manifest, and what the code says.
    """
    own: dict[str, Manifest | None] = {}
    for app, spec in package.manifest.apps.items():
        for name, agent in spec.agents.items():
            if agent.code not in own:
                own[agent.code] = _own_manifest(package, agent.code)
            said = own[agent.code]
            if said is not None:
                check_agent(name, agent, said, f"$.apps{step(app)}.agents{step(name)}")
    for code, said in own.items():
        for pattern in _asked(said):
            if not any(overlap(pattern, other) for other in package.manifest.grants.ffis):
                raise PackageError(
                    f"expected {pattern!r}, which the code {code} asks for, found no pattern that allows it"
                    f"{meant(pattern, package.manifest.grants.ffis)} at $.grants.ffis",
                    ENTRY,
                )


def _own_manifest(package: Packed, path: str) -> Manifest | None:
    """What the code says of itself; None if it says nothing, or is none: whoever loads it will say so."""
    code = package.archive.read(path)
    if not code.startswith(_WASM):
        return None
    try:
        module = wasm.read(code)
    except EngineError:
        return None
    try:
        # A read module has the exports and sections that this looks at.
        return read_manifest(cast(Module, module))
    except GuestError as exc:
        if not module.custom_sections(_SECTION):
            return None
        raise PackageError(str(exc), path) from None


def check_agent(name: str, agent: AgentSpec, said: Manifest, path: str) -> None:
    """Refuse what a manifest says of an agent, at `path`, if its code denies it. Raises as `check`."""
    called = agent.entry or name
    if not said.entries:
        # It dispatches names by itself.
        return
    entry = said.entries.get(called)
    if entry is None:
        raise PackageError(
            f"expected an entry of {agent.code} ({', '.join(said.entries)}), found {called!r}"
            f"{meant(called, said.entries)} at {path}{'.entry' if agent.entry else ''}",
            ENTRY,
        )
    params, result = param_types(agent)
    # Callers go by what the package says: the code must take all of it, and answer nothing else.
    _compare(params, entry.params, f"{path}.inParams", "the code takes", "the package lets in")
    _compare(entry.result, result, f"{path}.outParams", "the package promises", "the code answers")


def _compare(narrow: Type, wide: Type, path: str, expected: str, found: str) -> None:
    problem = misfit(narrow, wide)
    if problem is not None:
        raise PackageError(
            f"{expected} {problem.expected}, {found} {problem.found} at {path}{problem.path}", ENTRY
        )


def _asked(said: Manifest | None) -> Iterator[str]:
    """The FFIs that code asks for."""
    if said is not None and said.grants is not None:
        for layer in said.grants.patterns():
            yield from layer
