"""Who has started an agent from the command line, as the agent may talk to them: what it asks is asked here."""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click

from mixkit.answers import check_answer, check_field, check_form
from mixkit.cli.output import Output, safe
from mixkit.errors import FFIError, shortened

__all__ = ["Asker"]

_FORM: Final = "elicitation/create"
_LONGEST: Final = 2_000
"""Characters of a question that are shown."""
_LOOK: Final = 0.2
"""Seconds between two looks whether something was typed."""
_WORDS: Final = {"true": True, "yes": True, "y": True, "false": False, "no": False, "n": False}


class Asker:
    """What `mixkit.waiting.Waiting` asks for: on a terminal, or with answers that were given beforehand.

    Args:
        out: of the command.
        answers: of `--answer`, in the order of the questions: maps, or None, which declines.
    """

    def __init__(self, out: Output, answers: Sequence[Any] = ()) -> None:
        self._out = out
        self._answers = list(answers)
        self._count = 0

    def progress(self, done: float, total: float | None, message: str | None) -> None:
        """Shown on a terminal."""
        if not self._out.as_json and sys.stderr.isatty():
            of = "" if total is None else f" of {total:g}"
            self._out.note(f"{done:g}{of}" + (f": {shortened(message, _LONGEST)}" if message else ""))

    def number(self) -> int:
        self._count += 1
        return self._count

    async def ask(self, requests: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing else of the run goes on meanwhile: it waits for the answer."""
        return {
            name: self._answer(request["method"], request["params"]) for name, request in requests.items()
        }

    def _answer(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        if method != _FORM:
            raise FFIError(f"the command line cannot be asked for {method}")
        message = shortened(str(params.get("message", "")), _LONGEST)
        form: Any = params.get("requestedSchema")
        check_form(form)
        fields, required = form["properties"], form.get("required", [])
        if self._answers:
            return _given(self._answers.pop(0), form)
        if self._out.as_json or not sys.stdin.isatty():
            example = ", ".join(f'"{name}": …' for name in fields)
            how = f"run it on a terminal, or answer with --answer '{{{example}}}'"
            self._out.note(f"the agent asks: {message}; {how}")
            raise FFIError(f"nobody to ask; {how}")
        if threading.current_thread() is not threading.main_thread():
            raise FFIError("nobody to ask")
        try:
            with self._out.asking(), _interruptible():
                return {"action": "accept", "content": _asked(message, fields, required)}
        except (click.Abort, KeyboardInterrupt):
            click.echo(err=True)
            return {"action": "cancel"}


def _given(answer: Any, form: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of the command line, which must be one to what is asked, and to nothing else."""
    if answer is None:
        return {"action": "decline"}
    try:
        check_answer({**form, "additionalProperties": False}, answer)
    except FFIError as exc:
        raise FFIError(f"--answer: {exc}; the agent asks for {form['properties']}") from None
    return {"action": "accept", "content": answer}


def _asked(message: str, fields: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    """What somebody answers on a terminal, field by field. Raises `click.Abort` if they end it."""
    click.echo(safe(message), err=True)
    content: dict[str, Any] = {}
    for name, field in fields.items():
        value = _field(name, field, must=name in required)
        if value is not _NOTHING:
            content[name] = value
    return content


def _field(name: str, field: Mapping[str, Any], *, must: bool) -> Any:
    """One field: what was typed, the default, or nothing, where nothing is needed."""
    about = safe(shortened(str(field.get("title") or field.get("description") or name), 200))
    kind, choices = field.get("type", "string"), field.get("enum")
    hint = f" ({', '.join(map(str, choices))})" if isinstance(choices, list) else ""
    hint = hint or (f" ({kind})" if kind != "string" else "")
    default = field.get("default")
    shown = "" if default is None else f" [{safe(str(default))}]"
    while True:
        text = _line(f"{about}{safe(hint)}{shown}: ") or ("" if default is None else str(default))
        if text == "" and not must:
            return _NOTHING
        value = _READERS.get(str(kind), str)(text)
        try:
            if value is _NOTHING:
                raise FFIError(f"expected a value of the type {kind}")
            check_field(field, value, repr(name))
        except FFIError as exc:
            click.echo(safe(str(exc)), err=True)
        else:
            return value


def _line(prompt: str) -> str:
    """What is typed. Raises `click.Abort` at the end of the input."""
    click.echo(prompt, nl=False, err=True)
    # A signal is heard between two looks; it need not have woken this thread.
    while os.name != "nt" and not select.select([sys.stdin], [], [], _LOOK)[0]:
        pass
    line = sys.stdin.readline()
    if not line:
        raise click.Abort
    return line.rstrip("\n")


_NOTHING: Final = object()


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    return _NOTHING


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "boolean": lambda text: _WORDS.get(text.strip().lower(), _NOTHING),
    "integer": _number,
    "number": _number,
    "array": lambda text: [part.strip() for part in text.split(",") if part.strip()],
}


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the question: an event loop would hear of it only when something is typed."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
