"""`mixkit run`: one agent, once, from the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mixkit.cli.choices import enter_folder, ws_dir_option
from mixkit.cli.completing import complete_code
from mixkit.cli.output import Output
from mixkit.cli.params import merge_params, read_json
from mixkit.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from mixkit.cli.asking import Asker
    from mixkit.cli.runnable import Runnable
    from mixkit.grants import Grants
    from mixkit.job import RunResult
    from mixkit.kernel import Kernel
    from mixkit.storage import Place
    from mixkit.vm.program import Program

__all__ = ["run"]


@click.command()
@click.argument(
    "code",
    type=click.Path(path_type=Path),
    is_eager=True,
    callback=enter_folder,
    shell_complete=complete_code,
)
@click.argument("entry", required=False)
@click.argument("params", required=False)
@click.option(
    "--param", "pairs", multiple=True, metavar="NAME=VALUE", help="Put a value into PARAMS. Repeatable."
)
@click.option(
    "--env", "environment", metavar="JSON", help="JSON object added to the agent's environment, or @FILE."
)
@click.option(
    "--grant",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Allow only these FFIs, of those that the code asks for, as '$http_*'. Repeatable.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Narrow limits.wall_time.",
)
@click.option(
    "--database",
    "home",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Folder that keeps the database of the code; made if it is not there. Without it the code has none.",
)
@click.option(
    "--answer",
    "answers",
    multiple=True,
    metavar="JSON",
    help="Answer what the agent asks, where nobody is there to be asked: an object, or null to decline. Repeatable, in "
    "the order of the questions.",
)
@ws_dir_option
@json_option
@pass_session
def run(
    session: Session,
    code: Path,
    entry: str | None,
    params: str | None,
    pairs: tuple[str, ...],
    environment: str | None,
    patterns: tuple[str, ...],
    timeout: float | None,
    home: Path | None,
    answers: tuple[str, ...],
    ws_dir: Path | None,
) -> None:
    """Run ENTRY of CODE and print its result as tagged JSON; without ENTRY, list what can be run.

    CODE is a .wasm module, an agent in Mix (.mix, .mixexe), a .remix package, or a folder that makes a package; there
    ENTRY is an agent, or APP/AGENT. PARAMS is tagged JSON, @FILE, or - for standard input. Of an agent in Mix the ENTRY
    may be left out where PARAMS follow.

    CODE may also be WS/APP of a directory of workspaces, or WS/APP/AGENT, which PARAMS follow: an installed agent,
    with its powers and its database.

    What an agent asks with $core_ask is asked on the terminal; elsewhere --answer has the answers.

    What the code prints and logs is shown on stderr, from --log-level on if that is given, else from info on.

    The code may call what it asks for in its manifest; code that asks for nothing may call $core_* alone.
    --grant narrows the first and widens the second.
    """
    from mixkit.cli import logs
    from mixkit.cli.asking import Asker
    from mixkit.cli.installed import find_installed, split_agent
    from mixkit.cli.runnable import described, find, find_all, pick
    from mixkit.errors import NotFound
    from mixkit.near import meant_file
    from mixkit.storage import Place

    out = Output(session.as_json)
    names = split_agent(code, ws_dir)
    if names is not None:
        if home is not None:
            raise click.UsageError("an installed agent has the database of its app: leave out --database")
        if names[2] is not None:
            if params is not None:
                raise click.UsageError(f"expected one PARAMS after {code}, found {entry!r} and {params!r}")
            entry, params = names[2], entry
    if names is None and params is None and code.suffix in (".mix", ".mixexe") and _are_params(entry, pairs):
        entry, params = code.stem, entry
    values = merge_params(read_json(params, "PARAMS") if params is not None else None, pairs)
    extra = read_json(environment, "--env") if environment is not None else {}
    if not isinstance(extra, dict):
        raise click.BadParameter("expected a JSON object", param_hint="--env")
    given = [read_json(answer, "--answer") for answer in answers]
    if not all(answer is None or isinstance(answer, dict) for answer in given):
        raise click.BadParameter("expected a JSON object, or null", param_hint="--answer")
    caller = Asker(out, given)
    if names is None and len(code.parts) == 1 and not code.suffix and not code.exists():
        raise NotFound(
            f"no such file {str(code)!r}{meant_file(code)}; an agent that is installed is WS/APP/AGENT, as "
            "`mixkit list` has it"
        )
    with logs.show_guests(session.guest_level, session.log_format), session.kernel() as kernel:
        installed = find_installed(kernel, ws_dir, *names[:2]) if names is not None else None
        if entry is None:
            with out.working(f"reading {code.name}"):
                there = installed if installed is not None else find_all(kernel, code)
                rows = [described(kernel, item) for item in there.values()]
            _list(rows, out)
            return
        with out.working(f"compiling {code.name}"):
            try:
                if installed is not None:
                    runnable, found = pick(installed, str(code), entry), installed
                else:
                    runnable, found = find(kernel, code, entry)
            except NotFound as exc:
                if params is not None or entry.lstrip()[:1] not in ("{", "[", '"'):
                    raise
                raise NotFound(f"{exc}; an ENTRY stands before PARAMS") from None
            program = kernel.load(runnable.code, runnable.name)
        place = runnable.place
        if home is not None:
            place = Place("", runnable.app or code.stem, home.absolute())
        folder = code.parent if code.is_file() else None
        _run(kernel, program, runnable, found, values, extra, patterns, timeout, place, folder, caller, out)


def _are_params(text: str | None, pairs: tuple[str, ...]) -> bool:
    """Whether what stands where an entry would is its parameters; or nothing does, and they are given by --param."""
    return bool(pairs) if text is None else not text.isidentifier() or text in ("null", "true", "false")


def _list(found: Sequence[Runnable], out: Output) -> None:
    out.table(
        ("entry", "params", "result", "description"),
        [(item.name, str(item.params), str(item.result), item.description) for item in found],
    )


def _run(
    kernel: Kernel,
    program: Program,
    runnable: Runnable,
    found: Mapping[str, Runnable],
    params: Any,
    extra: dict[str, Any],
    patterns: tuple[str, ...],
    timeout: float | None,
    place: Place | None,
    folder: Path | None,
    caller: Asker,
    out: Output,
) -> None:
    import asyncio

    from mixkit.cli.lines import add_lines, add_source
    from mixkit.cli.runnable import env_of, limits_of, others_of
    from mixkit.converter import converter
    from mixkit.errors import RunError
    from mixkit.schema import RecordType
    from mixkit.shape import declared

    if params is None and RecordType in map(type, (runnable.params, program.entry(runnable.entry).params)):
        # As over HTTP, where no body is no parameters.
        params = {}
    grants = _grants(kernel, runnable, program.manifest.grants, patterns)
    try:
        with out.working(f"running {runnable.name}"):
            # NOTE: the guest runs in a thread, because Ctrl-C does not reach the inside of an engine.
            result = asyncio.run(
                kernel.run(
                    program,
                    runnable.entry,
                    converter(runnable.params)(params),
                    env=env_of(runnable, extra),
                    limits=limits_of(kernel, runnable, timeout),
                    grants=grants,
                    agents=others_of(kernel, runnable, found, grants, place) if runnable.app else None,
                    place=place,
                    apps=runnable.apps,
                    answer=declared(runnable.result),
                    caller=caller,
                )
            )
    except RunError as exc:
        add_lines(exc, runnable.code)
        if folder is not None and not out.as_json:
            add_source(exc, folder)
        raise
    _answer(out, result)
    if result.postponed:
        with out.working("running what was put off"):
            asyncio.run(kernel.run_postponed(result, kernel.limits.wall_time))


def _answer(out: Output, result: RunResult) -> None:
    from mixkit import tagged_json

    if out.as_json:
        value = json.loads(tagged_json.dumps(result.value))
        actions = json.loads(tagged_json.dumps(result.actions))
        out.document({"ok": True, "value": value, "actions": actions})
        return
    out.value(result.value)
    for action in result.actions:
        out.note(f"action for the caller: {tagged_json.dumps(action)}")


def _grants(
    kernel: Kernel, runnable: Runnable, own: Grants | None, patterns: tuple[str, ...]
) -> Grants | None:
    """What the run is granted; `own` is what the code asks for itself."""
    from mixkit.cli.grants import typed_grants

    if not patterns:
        return runnable.grants
    granted = typed_grants(kernel, patterns, runnable.grants or own)
    return granted if runnable.grants is None else runnable.grants & granted
