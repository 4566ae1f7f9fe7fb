"""What a package says of its agents, beside what their code says of itself: they may not contradict each other.

Code says it in the section `mix.manifest` of a Wasm module, or by the names of its exports. Where either is silent
there is nothing to contradict: the package may leave types to the code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol, cast

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
from mixkit.vm.manifest import Manifest, manifest_of, read_manifest

__all__ = ["Packed", "check", "check_agent", "unasked"]

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
        missing = [] if said is None else _missing(said, package.manifest.grants.ffis)
        if missing:
            raise PackageError(
                f"expected {', '.join(map(repr, missing))}, which the code {code} asks for, found no pattern that "
                f"allows {'it' if len(missing) == 1 else 'them'}{meant(missing[0], package.manifest.grants.ffis)} "
                "at $.grants.ffis",
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
        # An agent may be called otherwise than in its code.
        remedy = (
            ""
            if agent.entry
            else f'; say "entry": "{next(iter(said.entries))}" beside its code, or rename that'
        )
        raise PackageError(
            f"expected an entry of {agent.code} ({', '.join(said.entries)}), found {called!r}"
            f"{meant(called, said.entries)} at {path}{'.entry' if agent.entry else ''}{remedy}",
            ENTRY,
        )
    params, result = param_types(agent)
    # Callers go by what the package says: the code must take all of it, and answer nothing else.
    _compare(params, entry.params, f"{path}.inParams", "the code takes", "the package lets in")
    _compare(entry.result, result, f"{path}.outParams", "the package promises", "the code answers")


def unasked(package: Packed, said: Callable[[bytes], Mapping[str, Any] | None]) -> list[str]:
    """What to tell who builds a package of powers that its code may need, and the package does not ask for.

    What is compiled names all FFIs that it can reach, which may be more than it ever calls: so that is no error.

    Args:
        said: what code says of itself that is no Wasm module: `Kernel.said`.
    """
    found = []
    for code in sorted(
        {agent.code for app in package.manifest.apps.values() for agent in app.agents.values()}
    ):
        about = said(package.archive.read(code))
        missing = [] if about is None else _missing(manifest_of(about, code), package.manifest.grants.ffis)
        if missing:
            found.append(
                f"{code} can call {', '.join(missing)}, which no pattern in grants.ffis of the manifest allows: "
                f"such a call is refused{meant(missing[0], package.manifest.grants.ffis)}"
            )
    return found


def _compare(narrow: Type, wide: Type, path: str, expected: str, found: str) -> None:
    problem = misfit(narrow, wide)
    if problem is not None:
        raise PackageError(
            f"{expected} {problem.expected}, {found} {problem.found} at {path}{problem.path}", ENTRY
        )


def _missing(said: Manifest, asked: Collection[str]) -> list[str]:
    """The FFIs that code asks for, and no pattern of a package."""
    if said.grants is None:
        return []
    names = [name for layer in said.grants.patterns() for name in layer]
    return sorted(name for name in names if not any(overlap(name, pattern) for pattern in asked))
