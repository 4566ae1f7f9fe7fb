"""FFIs: host functions that agents may call. Registration, typed dispatch, and the one place of grants."""

from __future__ import annotations

import inspect
import logging
import re
import types
import typing
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from mixkit import codec
from mixkit.errors import (
    FFIError,
    GrantError,
    NotFound,
    printable,
)
from mixkit.grants import Grants, matches
from mixkit.invoker import (
    ROWS,
    Param,
    Words,
    async_invoker,
    binder,
    guarded,
    guarded_async,
    result_encoder,
    sync_invoker,
)
from mixkit.near import meant
from mixkit.octets import Answer, Octets
from mixkit.offers import ffi_plugin
from mixkit.rows import Rows
from mixkit.schema import ANY, Type, from_annotation, json_schema
from mixkit.state import State
from mixkit.value import Result

__all__ = ["FFI", "FFIGroup", "FFITable", "Registry"]

_log = logging.getLogger("mixkit.ffi")

F = TypeVar("F", bound=Callable[..., Any])
Kind = Literal["sync", "async", "simple", "const", "raw", "unsupported"]
MAX_PARAMS = 9
_NAME = re.compile(r"\$?[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class FFI:
    """One FFI, ready to be called.

    `invoke(state, words)` takes the codec words of an array of arguments and answers the words of the result,
    or an awaitable of them when `is_async`. A `quick` one answers within microseconds and waits for nothing: it is
    called on the event loop itself.
    """

    name: str
    group: str
    kind: Kind
    invoke: Callable[[State, Words], Any] = field(repr=False)
    params: tuple[Param, ...] = ()
    result: Type = ANY
    is_result: bool = False
    is_async: bool = False
    doc: str = ""
    quick: bool = False

    @property
    def signature(self) -> str:
        """As a person reads it: `$weather_now(city: string) -> result(map(data))`."""
        params = ", ".join(f"{p.name}{'?' if p.optional else ''}: {p.type}" for p in self.params)
        return f"{self.name}({params}) -> {f'result({self.result})' if self.is_result else self.result}"

    def describe(self) -> dict[str, Any]:
        """The schema that listings, stubs and tool descriptions are made from."""
        return {
            "name": self.name,
            "group": self.group,
            "kind": self.kind,
            "async": self.is_async,
            "signature": self.signature,
            "doc": self.doc,
            "params": [
                {"name": p.name, "type": str(p.type), "optional": p.optional, "schema": json_schema(p.type)}
                for p in self.params
            ],
            "result": {
                "type": str(self.result),
                "is_result": self.is_result,
                "schema": json_schema(self.result),
            },
        }


class FFIGroup:
    """A named set of FFIs, made by a plugin and added to the registry in `mix_ffis`.

    Args:
        name: of the group, shown in listings.
        options: grant options that the group's FFIs enforce, dotted key to one line of description; a package
            that sets any other option is refused.
        checks: functions that raise `GrantError` for a value that an option cannot have, so that it is refused
            before anything is installed.
    """

    def __init__(
        self,
        name: str,
        *,
        options: Mapping[str, str] | None = None,
        checks: Mapping[str, Callable[[Any], object]] | None = None,
    ) -> None:
        self.name = name
        self.options = dict(options or {})
        self.checks = dict(checks or {})
        if not self.checks.keys() <= self.options.keys():
            unknown = min(self.checks.keys() - self.options.keys())
            raise FFIError(f"group {name!r} checks the option {unknown!r}, which it does not have")
        self._ffis: dict[str, FFI] = {}

    def __iter__(self) -> Iterator[FFI]:
        return iter(self._ffis.values())

    def register(self, name: str, *, quick: bool = False) -> Callable[[F], F]:
        """Decorator: register a function under `name`, in the form that its signature says.

        `async def` is asynchronous; a first parameter that is called `state` or annotated `State` gets the
        run's state, otherwise the function is a simple one. A return annotation `Result[T]` answers
        `ok(value)`, and `error(message)` when the function raises. One that answers `mixkit.rows.Rows` hands on maps
        in the form in which they are at hand.

        Args:
            quick: it answers within microseconds and waits for nothing, no lock and no file; it may then be called on
                the event loop itself, which saves an agent the way into a thread. Not for asynchronous ones.
        """

        def decorate(function: F) -> F:
            if inspect.iscoroutinefunction(function):
                if quick:
                    raise FFIError(f"{name}: a coroutine function cannot be registered as quick, it waits")
                self.register_async(name, function)
            elif _takes_state(function):
                self.register_sync(name, function, quick=quick)
            else:
                self.register_simple(name, function, quick=quick)
            return function

        return decorate

    def register_sync(self, name: str, function: Callable[..., Any], *, quick: bool = False) -> None:
        """A function `(state, *arguments) -> value`. It must not wait: nothing can interrupt it."""
        _not_async(name, function)
        self._add_typed(name, function, "sync", with_state=True, quick=quick)

    def register_async(self, name: str, function: Callable[..., Awaitable[Any]]) -> None:
        """A coroutine function, with or without the state as its first parameter.

        It may wait, and is cancelled with the run, which ends when it has: what it awaits in a `finally` has two
        seconds.
        """
        self._add_typed(name, function, "async", with_state=_takes_state(function))

    def register_simple(self, name: str, function: Callable[..., Any], *, quick: bool = False) -> None:
        """A pure function `(*arguments) -> value` that needs nothing of the run."""
        _not_async(name, function)
        self._add_typed(name, function, "simple", with_state=False, quick=quick)

    def register_const(self, name: str, value: Any, doc: str = "") -> None:
        """A name that always answers the same value."""
        words = codec.encode(value)
        bind = binder(name, ())

        def invoke(state: State, args: Words) -> Answer:
            bind(state, args)
            return words

        self._add(FFI(name, self.name, "const", invoke, doc=doc, quick=True))

    def register_raw(
        self, name: str, function: Callable[[State, bytes], Any], doc: str = "", *, quick: bool = False
    ) -> None:
        """A function `(state, words) -> words`, sync or async: codec words in and out, which it checks."""
        is_async = inspect.iscoroutinefunction(function)
        invoke: Callable[[State, Words], Any]
        invoke = guarded_async(name, function) if is_async else guarded(name, function)
        self._add(
            FFI(
                name, self.name, "raw", invoke, is_async=is_async, doc=doc or inspect.getdoc(function) or "",
                quick=quick and not is_async,
            )
        )  # fmt: skip

    def register_unsupported(self, name: str, reason: str) -> None:
        """A known name that cannot be had here: calling it says why."""

        def invoke(state: State, args: Words) -> Answer:
            raise FFIError(f"{name} is not supported here: {reason}")

        self._add(FFI(name, self.name, "unsupported", invoke, doc=reason, quick=True))

    def _add(self, ffi: FFI) -> None:
        if not _NAME.fullmatch(ffi.name):
            raise FFIError(
                f"the name of an FFI is letters, digits and _, best behind a $, found {ffi.name!r}"
            )
        if ffi.name in self._ffis:
            raise FFIError(f"group {self.name!r} registers {ffi.name} twice")
        self._ffis[ffi.name] = ffi

    def _add_typed(
        self, name: str, function: Callable[..., Any], kind: Kind, *, with_state: bool, quick: bool = False
    ) -> None:
        params, result, is_result = _signature(name, function, with_state)
        encode = result_encoder(name, result, is_result)
        bind = binder(name, params)
        invoke: Callable[[State, Words], Any]
        if kind == "async":
            invoke = async_invoker(name, function, bind, encode, with_state, is_result)
        else:
            invoke = sync_invoker(name, function, bind, encode, with_state, is_result)
        self._add(
            FFI(
                name, self.name, kind, invoke, params, result, is_result,
                is_async=kind == "async", doc=inspect.getdoc(function) or "", quick=quick,
            )
        )  # fmt: skip


def _not_async(name: str, function: Callable[..., Any]) -> None:
    if inspect.iscoroutinefunction(function):
        raise FFIError(f"{name}: a coroutine function is registered with register_async")


def _takes_state(function: Callable[..., Any]) -> bool:
    first = next(iter(inspect.signature(function).parameters.values()), None)
    if first is None:
        return False
    # A text where annotations are not evaluated: "State", or with its module, "mixkit.State".
    named = isinstance(first.annotation, str) and first.annotation.rpartition(".")[2] == "State"
    return first.name == "state" or first.annotation is State or named


def _signature(
    name: str, function: Callable[..., Any], with_state: bool
) -> tuple[tuple[Param, ...], Type, bool]:
    """Parameters, result type, and whether the result is `ok`/`error`, from the function's annotations."""
    try:
        # Plugins import State only for type checkers, or define FFIs inside functions.
        hints = typing.get_type_hints(function, localns={"State": State}, include_extras=True)
    except NameError as exc:
        raise FFIError(
            f"{name}: cannot resolve the annotation {exc.name!r} of {function.__qualname__}"
        ) from None
    parameters = list(inspect.signature(function).parameters.values())[1 if with_state else 0 :]
    if len(parameters) > MAX_PARAMS:
        raise FFIError(f"{name}: an FFI has at most {MAX_PARAMS} arguments, found {len(parameters)}")
    params = []
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise FFIError(f"{name}: argument {parameter.name!r} must be positional")
        hint = hints.get(parameter.name, Any)
        plain = _as_binary(memoryview, hint)
        try:
            type_ = from_annotation(plain)
        except TypeError as exc:
            raise FFIError(f"{name}: argument {parameter.name!r}: {exc}") from None
        optional = parameter.default is not parameter.empty
        params.append(Param(parameter.name, type_, optional, view=plain is not hint))
    returned = hints.get("return", Any)
    is_result = typing.get_origin(returned) is Result
    if is_result:
        returned = typing.get_args(returned)[0]
    try:
        result = ROWS if returned is Rows else from_annotation(_as_binary(Octets, returned))
        return tuple(params), result, is_result
    except TypeError as exc:
        raise FFIError(f"{name}: result: {exc}") from None


def _as_binary(cls: type, annotation: Any) -> Any:
    """The annotation with `bytes` for a class that is binary without a copy; itself if it has none of that."""
    if annotation is cls:
        return bytes
    options = typing.get_args(annotation)
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType) or cls not in options:
        return annotation
    return typing.Union[tuple(bytes if option is cls else option for option in options)]  # noqa: UP007 - made here


class Registry:
    """Collects the groups of one plugin; the kernel merges them only when all of its hooks succeeded."""

    def __init__(self) -> None:
        self.groups: list[FFIGroup] = []

    def add(self, group: FFIGroup) -> None:
        """Offer a group's FFIs to agents."""
        if not isinstance(group, FFIGroup):
            raise FFIError(f"registry.add takes an FFIGroup, found {type(group).__name__}")
        self.groups.append(group)


_LISTED = "; `mixkit ffi list` shows what there is"


def _unknown(name: str, known: Iterable[str], remedy: Callable[[str], str] | None = None) -> NotFound:
    lacking = _lacking(name, known)
    if lacking is None:
        return NotFound(f"no FFI {name!r} in this profile{meant(name, known) or _LISTED}")
    how = f"plugin {lacking!r}, which brings it, is not in the profile" if remedy is None else remedy(lacking)
    return NotFound(f"no FFI {name!r} in this profile; {how}")


def _lacking(name: str, known: Iterable[str]) -> str | None:
    """The plugin of ours that an FFI is of, if the profile has none of its FFIs."""
    plugin = ffi_plugin(name)
    return None if plugin is None or any(ffi_plugin(other) == plugin for other in known) else plugin


def _options(grants: Grants) -> list[tuple[str, Any]]:
    """The options of all layers."""
    return [(key, layer[key]) for _, layer in grants.layers() for key in sorted(layer)]


class FFITable:
    """All FFIs of a kernel by name, and their dispatch. Fixed once made.

    Args:
        remedy: what to tell an operator of a plugin that is not in the profile; agents are told less.
    """

    def __init__(self, groups: Iterable[FFIGroup], remedy: Callable[[str], str] | None = None) -> None:
        self._remedy = remedy
        self._ffis: dict[str, FFI] = {}
        self._by_bytes: dict[bytes, FFI] = {}
        self.options: dict[str, str] = {}
        self._checks: dict[str, Callable[[Any], object]] = {}
        for group in groups:
            self.options.update(group.options)
            self._checks.update(group.checks)
            for ffi in group:
                other = self._ffis.get(ffi.name)
                if other is not None:
                    raise FFIError(f"{ffi.name} is registered by group {other.group!r} and by {ffi.group!r}")
                self._ffis[ffi.name] = ffi
                self._by_bytes[ffi.name.encode()] = ffi

    def replaced(self, ffis: Iterable[FFI]) -> FFITable:
        """The same with other FFIs in place of those of their names, or beside them."""
        made = FFITable((), self._remedy)
        made.options, made._checks = self.options, self._checks
        made._ffis = self._ffis | {ffi.name: ffi for ffi in ffis}
        made._by_bytes = {name.encode(): ffi for name, ffi in made._ffis.items()}
        return made

    def __iter__(self) -> Iterator[FFI]:
        return iter(sorted(self._ffis.values(), key=lambda ffi: (ffi.group, ffi.name)))

    def __len__(self) -> int:
        return len(self._ffis)

    def __contains__(self, name: str) -> bool:
        return name in self._ffis

    def __getitem__(self, name: str) -> FFI:
        try:
            return self._ffis[name]
        except KeyError:
            raise _unknown(name, self._ffis, self._remedy) from None

    def find(self, state: State, name: bytes, words: Words) -> FFI:
        """The FFI that an agent calls: the only way to one, where grants and the limits of calls are enforced.

        Args:
            name: of the FFI, UTF-8, as the guest wrote it.
            words: codec words of an array of arguments.

        Raises:
            GrantError: not requested or not granted. A name that does not exist reads the same to an agent
                that was not granted it.
            LimitExceeded, NotFound.
        """
        ffi = self._by_bytes.get(name)
        text = ffi.name if ffi is not None else printable(name[:100].decode("utf-8", "replace"))
        if not state.grants.allows(text):
            raise GrantError(
                f"{text} is not granted to {state.code or 'this code'}; its manifest must request it "
                "and the installation must grant it"
            )
        state.budget.spend_call(words)
        if ffi is None:
            raise _unknown(text, self._ffis)
        return ffi

    def dispatch(self, state: State, name: bytes, words: Words) -> tuple[FFI, Any]:
        """Find an FFI and call it.

        Returns:
            The FFI and its answer's codec words, or an awaitable of them when `ffi.is_async`.

        Raises:
            FFIError: what the call raises, and as `find`.
        """
        ffi = self.find(state, name, words)
        return ffi, ffi.invoke(state, words)

    def check_grant_options(self, keys: Iterable[str]) -> None:
        """Raise `GrantError` for an option that no loaded plugin enforces: accepting it would be a lie."""
        for key in sorted(keys):
            if key not in self.options:
                raise GrantError(self._unknown_option(key))

    def check_grants(self, grants: Grants) -> None:
        """Raise `GrantError` for an option that no loaded plugin enforces, or a value that it cannot have."""
        for key, value in _options(grants):
            self.check_grant_options([key])
            if key in self._checks:
                self._checks[key](value)

    def unknown_grants(self, grants: Grants) -> list[str]:
        """What stands in grants and means nothing in this profile, a line each, with the near name.

        FFIs that a plugin might have which is not here are unknown too: misspelt or lacking, the profile cannot tell.
        """
        patterns = sorted({pattern for layer in grants.patterns() for pattern in layer})
        lines = [line for pattern in patterns for line in self._unknown_pattern(pattern)]
        for key, value in _options(grants):
            try:
                self.check_grants(Grants((), {key: value}))
            except GrantError as exc:
                lines.append(str(exc))
        return lines

    def _unknown_pattern(self, pattern: str) -> list[str]:
        ffi = self._ffis.get(pattern)
        if ffi is not None and ffi.kind == "unsupported":
            return [f"{pattern} is not supported in this profile: {ffi.doc}"]
        if any(matches((pattern,), name) for name in self._ffis):
            return []
        near = meant(pattern, [*self._ffis, *(f"{name.partition('_')[0]}_*" for name in self._ffis)])
        what = f"begins with {pattern[:-1]!r}" if pattern.endswith("*") else f"is called {pattern!r}"
        lacking = _lacking(pattern, self._ffis) if self._remedy is not None else None
        if lacking is not None and self._remedy is not None:
            return [f"no FFI of this profile {what}; {self._remedy(lacking)}"]
        return [f"no FFI of this profile {what}{near or _LISTED}"]

    def _unknown_option(self, key: str) -> str:
        known = ", ".join(sorted(self.options)) or "none"
        near = meant(key, self.options)
        return f"no loaded plugin enforces the grant option {key!r}; known: {known}{near}"
