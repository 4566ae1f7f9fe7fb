"""Which Wasm engines run guests, and which of them runs a module: decided here."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from mixkit.contracts import Module, WasmEngine
from mixkit.errors import EngineError, MixError, ProfileError
from mixkit.near import meant
from mixkit.outside import foreign

__all__ = ["Choice", "Decision", "Engines", "choose", "decide"]

_log = logging.getLogger("mixkit.engines")

_NEAR: Final = 0.8
"""How like an offered engine one must be to be it misspelt, and not one that is not installed."""
_DECIDED: Final = 10_000
"""Decisions that are remembered, of a hundred bytes or so each."""
_LONGEST: Final = 300


class Choice(msgspec.Struct, frozen=True):
    """An engine of the profile, with the reason for `mixkit doctor`."""

    engine: str
    path: str
    reason: str


class Decision(msgspec.Struct, frozen=True):
    """Which of the engines runs a module, compiled by it, and why: what those before it said."""

    index: int
    module: Module
    reason: str


def choose(
    wanted: Sequence[str], offered: Mapping[str, str], how: Callable[[str], str] = lambda name: ""
) -> tuple[Choice, ...]:
    """The engines of the profile's list that plugins offer, by preference: at least one.

    Args:
        wanted: the profile's `engines`, by preference.
        offered: name to import string, from `mix_engines`.
        how: what to do to have an engine that is not offered.

    Raises:
        ProfileError: none of them is there, a start must not go on without the engine that it declares; or one is an
            offered one misspelt.
    """
    for name in wanted:
        near = "" if name in offered else meant(name, offered, _NEAR)
        if near:
            raise ProfileError(f"no engine {name!r}{near}", "engines")
    missing = [name for name in wanted if name not in offered]
    skipped = f"; {', '.join(missing)} not installed" if missing else ""
    found = [name for name in dict.fromkeys(wanted) if name in offered]
    if found:
        return tuple(
            Choice(name, offered[name], f"choice {index} of the profile's engines{skipped}")
            for index, name in enumerate(found, 1)
        )
    more = (how(wanted[0]) or meant(wanted[0], offered)) if wanted else ""
    raise ProfileError(
        f"no plugin of the profile offers any of the engines {', '.join(wanted) or '(none)'}; "
        f"offered: {', '.join(sorted(offered)) or 'none'}{more}",
        "engines",
    )


def decide(
    code: bytes, engines: Sequence[tuple[str, Callable[[bytes], Module]]], known: tuple[int, str] = (0, "")
) -> Decision:
    """Compile code with the first engine that takes it.

    An engine leaves a module to the next one by an `EngineError`: that is no module that the profile trusts it with,
    or has what it cannot run, or is too much to compile.

    Args:
        code: the module.
        engines: by preference, each with its name and its `compile`.
        known: index and reason of an earlier decision, from where to begin.

    Raises:
        EngineError: that of the last engine.
    """
    begin, reason = known
    for index, (name, compile) in enumerate(engines[begin:], begin):
        try:
            return Decision(index, compile(code), reason or f"{name} takes it")
        except EngineError as exc:
            if index + 1 == len(engines):
                raise
            _log.info("%s leaves a module of %d bytes to the next engine: %s", name, len(code), exc)
            said = f"{name}: {exc}"[:_LONGEST]
            reason = f"{reason}; {said}" if reason else said
    raise AssertionError("a profile with engines has at least one")


class Engines:
    """The engines of a kernel: made when first needed, and asked in their order.

    Args:
        choices: from `choose`.
        make: makes the engine of a choice.
        failed: makes the error that names the plugin of an engine, for `foreign`.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        make: Callable[[Choice], WasmEngine],
        failed: Callable[[Choice, str], Callable[[str], MixError]],
    ) -> None:
        self.choices = tuple(choices)
        self._make = make
        self._failed = failed
        self._made: tuple[WasmEngine, ...] | None = None
        self._known: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self._lock = threading.Lock()

    def made(self) -> tuple[WasmEngine, ...]:
        """The engines in the order of the choices."""
        if self._made is not None:
            return self._made
        with self._lock:
            if self._made is None:
                made = []
                for choice in self.choices:
                    with foreign(self._failed(choice, "cannot be made")):
                        made.append(self._make(choice))
                self._made = tuple(made)
            return self._made

    def prepare(self) -> None:
        """Have each load what it needs, and compile nothing."""
        for choice, engine in zip(self.choices, self.made(), strict=True):
            with foreign(self._failed(choice, "cannot be prepared")):
                engine.prepare()

    def compile(self, code: bytes) -> tuple[WasmEngine, Decision]:
        """Code, compiled by the engine that is to run it.

        Raises:
            EngineError: as of `decide`.
            ProfileError: there are no engines.
        """
        if not self.choices:
            raise ProfileError("the profile has no engine, which code needs", "engines")
        made = self.made()
        compilers = [
            (choice.engine, self._compiler(choice, engine))
            for choice, engine in zip(self.choices, made, strict=True)
        ]
        if len(made) == 1:
            return made[0], decide(code, compilers)
        import hashlib

        # What an engine has left to the next one, after minutes perhaps, it is not asked again.
        digest = hashlib.sha256(code).hexdigest()
        with self._lock:
            known = self._known.get(digest, (0, ""))
        decision = decide(code, compilers, known)
        with self._lock:
            self._known[digest] = (decision.index, decision.reason)
            self._known.move_to_end(digest)
            if len(self._known) > _DECIDED:
                self._known.popitem(last=False)
        return made[decision.index], decision

    def _compiler(self, choice: Choice, engine: WasmEngine) -> Callable[[bytes], Module]:
        def compile(code: bytes) -> Module:
            with foreign(self._failed(choice, "failed to compile the code")):
                return engine.compile(code)

        return compile
