"""From an exception to an exit status and one readable line: the outermost layer of the command line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sys
from collections.abc import Sequence

import click

from mixkit.cli.output import safe, safe_json, styled
from mixkit.cli.session import Session
from mixkit.errors import MixError, RunError
from mixkit.near import meant, meant_file

__all__ = ["DEBUG_VARIABLE", "run_guarded"]

DEBUG_VARIABLE = "MIXKIT_DEBUG"
INTERRUPTED = 130
_QUOTED = re.compile(r"'(.*?)'")


def run_guarded(command: click.Command, args: Sequence[str] | None, session: Session) -> int:
    """Run the command. Every error becomes a line on stderr, or with `--json` an object on stdout.

    An int that a command answers is its exit status. With MIXKIT_DEBUG=1 the traceback comes before the line.
    """
    words = list(sys.argv[1:] if args is None else args)
    try:
        status = command.main(words, prog_name="mixkit", standalone_mode=False, obj=session)
        sys.stdout.flush()
    except click.ClickException as exc:
        return _usage(exc, words, session)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return 1
    except SystemExit:
        raise
    except OSError as exc:
        if exc.errno != errno.EBADF or exc.filename is not None:
            return _failed(exc, words, session)
        _silence_stdout()
        return _failed(
            OSError(exc.errno, "standard output is closed, and there is something to write"), words, session
        )
    except BaseException as exc:
        return _failed(exc, words, session)
    return status if isinstance(status, int) and not isinstance(status, bool) else 0


def _failed(exc: BaseException, words: list[str], session: Session) -> int:
    if os.environ.get(DEBUG_VARIABLE) == "1":
        import traceback

        traceback.print_exception(exc)
    _report(exc, words, session)
    return 1


def _usage(exc: click.ClickException, words: list[str], session: Session) -> int:
    if more := _near(exc) + session.said_of(exc.format_message()):
        exc = click.UsageError(exc.format_message().removesuffix(".") + more, getattr(exc, "ctx", None))
    if _wants_json(words) and not isinstance(exc, click.exceptions.NoArgsIsHelpError):
        _print_object("usage", exc.format_message())
    else:
        exc.show()
    return exc.exit_code


def _near(exc: click.ClickException) -> str:
    """What was meant by a word that is no choice, or a path that leads nowhere: click lists the first, and no more."""
    kind = exc.param.type if isinstance(exc, click.BadParameter) and exc.param is not None else None
    found = _QUOTED.search(exc.message)
    if kind is None or found is None:
        return ""
    if isinstance(kind, click.Choice):
        return meant(found[1], map(str, kind.choices))
    return meant_file(found[1]) if isinstance(kind, click.Path | click.File) else ""


def _report(exc: BaseException, words: list[str], session: Session) -> None:
    if isinstance(exc, MixError):
        kind, message = exc.code, str(exc)
    elif isinstance(exc, OSError) and exc.strerror:
        kind, message = "os", f"{exc.strerror}: {exc.filename}" if exc.filename else exc.strerror
        if isinstance(exc, FileNotFoundError) and isinstance(exc.filename, str):
            message += meant_file(exc.filename)
    else:
        kind = "internal"
        message = (
            f"a fault of mixkit or of a plugin: {type(exc).__name__}: {exc} ({DEBUG_VARIABLE}=1 shows where)"
        )
    message += session.said_of(message)
    if _wants_json(words):
        _print_object(kind, message, exc)
        return
    label = styled("error:", "error", sys.stderr)
    click.echo(f"mixkit: {label} {_indented(safe(message))}", err=True)
    for frame in exc.backtrace if isinstance(exc, RunError) else ():
        click.echo(f"    at {frame}", err=True)


def _indented(message: str) -> str:
    """The message with no line but the first in the first column, where a stranger's text would look like ours."""
    first, *others = message.split("\n")
    return "\n".join([first, *(f"    {line}" if line[:1].strip() else line for line in others)])


def _print_object(kind: str, message: str, exc: BaseException | None = None) -> None:
    answer: dict[str, object] = {"ok": False, "kind": kind, "message": message}
    if isinstance(exc, RunError):
        answer["run_error"] = exc.to_dict()
    with contextlib.suppress(BrokenPipeError):
        click.echo(safe_json(json.dumps(answer, ensure_ascii=False)))


def _wants_json(words: list[str]) -> bool:
    # Read from the words, because an error may come before any option is parsed.
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options


def _silence_stdout() -> None:
    """The reader has gone: keep the interpreter from complaining when it flushes stdout at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
