"""FFIs of the profile, recorded while tests call them, and replayed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mixkit import codec, tagged_json
from mixkit.errors import FFIError, MixError
from mixkit.ffi import FFI
from mixkit.state import State
from mixkit.value import UNDEF, Case, Token
from mixkit.whole_file import whole_file

__all__ = ["Calls", "Recording"]

_TOKEN: Final = "recordedToken"
"""The case that stands for a token in a recording: what is in that is never written."""


class Recording:
    """What FFIs answered to each test, in the order of the calls.

    Attributes:
        tests: names of tests to their calls: name, arguments, and the answer or the error, in tagged JSON.
    """

    def __init__(self, tests: dict[str, list[dict[str, Any]]] | None = None) -> None:
        self.tests = tests or {}

    @classmethod
    def read(cls, path: Path) -> Recording:
        """One from its file.

        Raises:
            MixError: it is none.
        """
        try:
            found = json.loads(path.read_bytes())
            tests = found["tests"]
            if not all(
                isinstance(call, dict) and isinstance(call["ffi"], str) and isinstance(call["args"], list)
                for calls in tests.values()
                for call in calls
            ):
                raise TypeError
        except OSError as exc:
            raise MixError(f"{path}: cannot be read: {exc.strerror}") from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise MixError(
                f"{path}: is no recording of FFIs; make one with: mixkit test --record {path}"
            ) from None
        return cls(tests)

    def write(self, path: Path) -> None:
        """Put it into a file."""
        with whole_file(path) as file:
            file.write((json.dumps({"version": 1, "tests": self.tests}, indent=1) + "\n").encode())


class Calls:
    """What FFIs do beside their work, or in its place.

    Args:
        recorded: where to write down what they answer.
        replayed: what to answer, without calling them.
    """

    def __init__(self, recorded: Recording | None = None, replayed: Recording | None = None) -> None:
        self._recorded, self._replayed = recorded, replayed
        self._test = ""
        self._unread: list[dict[str, Any]] = []
        self._tokens: list[Token] = []

    def begin(self, test: str) -> None:
        """A test of that name begins, or begins again."""
        self._test, self._tokens = test, []
        if self._recorded is not None:
            self._recorded.tests[test] = []
        if self._replayed is not None:
            self._unread = list(self._replayed.tests.get(test, ()))

    def wrapped(self, ffi: FFI) -> FFI:
        """An FFI that is recorded or replayed."""
        if self._replayed is not None:
            return replace(ffi, invoke=self._answering(ffi.name), is_async=False, quick=True)
        if ffi.is_async:
            return replace(ffi, invoke=self._noting_async(ffi))
        return replace(ffi, invoke=self._noting(ffi))

    def _noting(self, ffi: FFI) -> Callable[[State, Any], Any]:
        def invoke(state: State, words: Any) -> Any:
            note = self._called(state, ffi, words)
            with _noted_error(note):
                answer = ffi.invoke(state, words)
            note["answer"] = self._written(state, answer)
            return answer

        return invoke

    def _noting_async(self, ffi: FFI) -> Callable[[State, Any], Any]:
        async def invoke(state: State, words: Any) -> Any:
            note = self._called(state, ffi, words)
            with _noted_error(note):
                answer = await ffi.invoke(state, words)
            note["answer"] = self._written(state, answer)
            return answer

        return invoke

    def _called(self, state: State, ffi: FFI, words: Any) -> dict[str, Any]:
        assert self._recorded is not None
        note = {"ffi": ffi.name, "args": self._written(state, words)}
        self._recorded.tests[self._test].append(note)
        return note

    def _answering(self, name: str) -> Callable[[State, Any], Any]:
        def invoke(state: State, words: Any) -> Any:
            args = self._written(state, words)
            for index, call in enumerate(self._unread):
                if call["ffi"] == name and call["args"] == args:
                    del self._unread[index]
                    if "error" in call:
                        raise FFIError(call["error"])
                    answer = self._with_tokens(tagged_json.loads(json.dumps(call.get("answer"))))
                    return codec.encode(answer, token=state.token_to_handle)
            raise FFIError(f"no call of {name} with these arguments is left in the recording")

        return invoke

    # Values in recordings

    def _written(self, state: State, words: Any) -> Any:
        """A value in codec words as tagged JSON, with tokens by their number in the test."""
        value = codec.decode(words, token=state.token_from_handle)
        return json.loads(tagged_json.dumps(self._without_tokens(value)))

    def _without_tokens(self, value: Any) -> Any:
        match value:
            case Token():
                if value not in self._tokens:
                    self._tokens.append(value)
                return Case(_TOKEN, self._tokens.index(value))
            case list():
                return [self._without_tokens(item) for item in value]
            case dict():
                return {key: self._without_tokens(item) for key, item in value.items()}
            case Case(name=name, arg=arg) if arg is not UNDEF:
                return Case(name, self._without_tokens(arg))
        return value

    def _with_tokens(self, value: Any) -> Any:
        match value:
            case Case(name=name, arg=int() as number) if name == _TOKEN:
                while len(self._tokens) <= number:
                    self._tokens.append(Token("recorded"))
                return self._tokens[number]
            case list():
                return [self._with_tokens(item) for item in value]
            case dict():
                return {key: self._with_tokens(item) for key, item in value.items()}
            case Case(name=name, arg=arg) if arg is not UNDEF:
                return Case(name, self._with_tokens(arg))
        return value


@contextmanager
def _noted_error(note: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except FFIError as exc:
        note["error"] = str(exc)
        raise
