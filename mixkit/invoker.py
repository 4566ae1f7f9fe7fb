"""How an FFI is invoked: its arguments are decoded and converted, its function is called, its answer is encoded.

What a call costs is decided at registration: the types choose a converter per argument and one invoker per form, so
that a call only runs them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import msgspec

from mixkit import codec, shape
from mixkit.converter import Converter, converter
from mixkit.errors import (
    CancelledRun,
    CodecError,
    FFIError,
    GrantError,
    InternalError,
    LimitExceeded,
    MixError,
)
from mixkit.forms import Packed
from mixkit.octets import LEAST, Answer, Octets, arguments
from mixkit.outside import is_ours
from mixkit.rows import PackedRows, Rows
from mixkit.schema import ANY, ArrayType, MapType, Mismatch, Type
from mixkit.state import State
from mixkit.value import Case, error, is_large, ok

__all__ = [
    "ROWS",
    "Param",
    "Words",
    "async_invoker",
    "binder",
    "guarded",
    "guarded_async",
    "result_encoder",
    "sync_invoker",
]

_log = logging.getLogger("mixkit.ffi")

Words: TypeAlias = bytes


class Param(msgspec.Struct, frozen=True):
    """A parameter of an FFI."""

    name: str
    type: Type
    optional: bool = False
    view: bool = False
    """Whether binary that is large comes as a memoryview of the guest's words."""


def _decode_args(name: str, state: State, words: Words, least: int, most: int) -> list[Any]:
    try:
        args = codec.decode(words, token=state.token_from_handle)
    except CodecError as exc:
        raise FFIError(f"{name}: the arguments are malformed: {exc}") from None
    if type(args) is not list:
        raise FFIError(f"{name} takes an array of arguments")
    if not least <= len(args) <= most:
        expected = f"{least}" if least == most else f"{least} to {most}"
        raise FFIError(f"{name} takes {expected} argument{'' if expected == '1' else 's'}, found {len(args)}")
    return args


def _with_views(name: str, state: State, words: Words, least: int, most: int) -> list[Any]:
    args = arguments(words, state.token_from_handle)
    return args if args and least <= len(args) <= most else _decode_args(name, state, words, least, most)


def binder(name: str, params: tuple[Param, ...]) -> Callable[[State, Words], list[Any]]:
    """Decodes, counts and converts the arguments of one FFI."""
    least = sum(not param.optional for param in params)
    most = len(params)
    converters: list[Converter] = [converter(param.type) for param in params]
    views = [param.view for param in params]

    def bind(state: State, words: Words) -> list[Any]:
        if len(words) >= LEAST and True in views:
            args = _with_views(name, state, words, least, most)
        else:
            args = _decode_args(name, state, words, least, most)
        index = 0
        try:
            # PERF: one block for all of them, since every call comes past here.
            for index, value in enumerate(args):
                if type(value) is not memoryview:
                    args[index] = converters[index](value)
                elif not views[index]:
                    args[index] = converters[index](bytes(value))
        except Mismatch as exc:
            raise FFIError(f"{name}: argument {index + 1} ({params[index].name}): {exc}") from None
        except BaseException as exc:
            # The class of a record is the plugin's, and so is what its constructor does.
            if is_ours(exc) or isinstance(exc, MixError):
                raise
            _log.error("%s failed to take its arguments", name, exc_info=exc)
            raise InternalError(f"{name} failed inside; the log says why") from exc
        return args

    return bind


ROWS = ArrayType(MapType(ANY))
"""What an FFI answers that is annotated to answer `Rows`."""

_VALUES: Final = frozenset((dict, list, str, bytes, int, float, bool, type(None), Case))
"""Types of what FFIs answer that stand for nothing else."""

_OK = codec.encode(ok(None))[: -len(codec.encode(None))]
"""What stands before the words of a value to make `ok(value)` of it."""


def result_encoder(name: str, kind: Type, is_result: bool) -> Callable[[State, Any], Answer]:
    convert = None if kind == ANY else converter(kind, out=True)
    declared = shape.declared(kind)

    def encode(state: State, value: Any) -> Answer:
        try:
            # PERF: nearly all answers are Values, and few stand for one.
            if type(value) not in _VALUES:
                if type(value) is Octets:
                    if convert is not None:
                        convert(b"")
                    return value.words(is_ok=is_result)
                # Of what nobody has looked at so far, no values are made here either.
                if isinstance(value, Packed):
                    if declared is None or declared.fits(value.words):
                        return _OK + value.words if is_result else value.words
                    value = value.value()
                elif isinstance(value, PackedRows) and kind in (ROWS, ANY):
                    # Whoever packed them vouches for what they are.
                    return _OK + value.words() if is_result else value.words()
                elif isinstance(value, Rows):
                    value = value.values()
            if convert is not None:
                value = convert(value)
            return codec.encode(ok(value) if is_result else value, token=state.token_to_handle)
        except Mismatch as exc:
            raise InternalError(f"{name} answered what it does not declare: {exc}") from exc
        except MixError as exc:
            if isinstance(exc, LimitExceeded):
                raise
            raise InternalError(f"{name} answered something that is no Value: {exc}") from exc
        except RecursionError:
            raise InternalError(f"{name} answered something that is no Value: it contains itself") from None
        except BaseException as exc:
            if is_ours(exc):
                raise
            _log.error("the answer of %s cannot be read", name, exc_info=exc)
            raise InternalError(f"{name} failed inside; the log says why") from exc

    return encode


def _failure(name: str, exc: BaseException, is_result: bool) -> Words:
    """What an exception becomes: `error(message)` for the guest, or an error that ends the run."""
    try:
        if isinstance(exc, LimitExceeded | CancelledRun | GrantError) or is_ours(exc):
            raise exc
        if not isinstance(exc, MixError):
            _log.error("%s failed", name, exc_info=exc)
            exc = InternalError(f"{name} failed inside; the log says why")
        if is_result:
            # NOTE: paths of the system may hold bytes that are no text, as lone surrogates; a Value may not.
            return codec.encode(error(str(exc).encode("utf-8", "backslashreplace").decode()))
        raise exc
    finally:
        # What is raised leads to this frame.
        del exc


def sync_invoker(
    name: str,
    function: Callable[..., Any],
    bind: Callable[[State, Words], list[Any]],
    encode: Callable[[State, Any], Answer],
    with_state: bool,
    is_result: bool,
) -> Callable[[State, Words], Answer]:
    def invoke(state: State, words: Words) -> Answer:
        args = bind(state, words)
        try:
            value = function(state, *args) if with_state else function(*args)
        except BaseException as exc:
            return _failure(name, exc, is_result)
        return encode(state, value)

    return invoke


def async_invoker(
    name: str,
    function: Callable[..., Any],
    bind: Callable[[State, Words], list[Any]],
    encode: Callable[[State, Any], Answer],
    with_state: bool,
    is_result: bool,
) -> Callable[[State, Words], Awaitable[Answer]]:
    async def answer(state: State, args: list[Any]) -> Answer:
        try:
            value = await (function(state, *args) if with_state else function(*args))
        except BaseException as exc:
            return _failure(name, exc, is_result)
        if not (is_large(value) if type(value) in _VALUES else isinstance(value, Rows)):
            return encode(state, value)
        import asyncio

        return await asyncio.to_thread(encode, state, value)

    def invoke(state: State, words: Words) -> Awaitable[Answer]:
        # In the thread of the run: large arguments are not for an event loop.
        return answer(state, bind(state, words))

    # As logs call its coroutines.
    answer.__qualname__ = name
    return invoke


def _raw_answer(name: str, answer: object) -> Words:
    # NOTE: bytes(7) would be seven zeros.
    if not isinstance(answer, bytes | bytearray | memoryview):
        raise InternalError(f"{name} answers codec words as bytes, found {type(answer).__name__}")
    words = bytes(answer)
    if not words or len(words) % 4:
        raise InternalError(f"{name} answered {len(words)} bytes, which are not whole codec words")
    return words


def guarded(name: str, function: Callable[[State, bytes], Any]) -> Callable[[State, Words], Answer]:
    def invoke(state: State, words: Words) -> Answer:
        try:
            return _raw_answer(name, function(state, words))
        except BaseException as exc:
            return _failure(name, exc, False)

    return invoke


def guarded_async(
    name: str, function: Callable[[State, bytes], Any]
) -> Callable[[State, Words], Awaitable[Answer]]:
    async def answer(state: State, words: Words) -> Answer:
        try:
            return _raw_answer(name, await function(state, words))
        except BaseException as exc:
            return _failure(name, exc, False)

    answer.__qualname__ = name
    return answer
