"""`mixkit wasm`: build, inspect and run guests."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mixkit.cli.grants import check_grants
from mixkit.cli.group import Group
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.grants import CORE

if TYPE_CHECKING:
    from mix_wasm.inspect import Report

__all__ = ["wasm"]

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OUT = click.Path(dir_okay=False, path_type=Path)


@click.group(cls=Group)
def wasm() -> None:
    """Build and inspect Wasm guests; `mixkit new app NAME --lang c` makes one."""


@wasm.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path), default=Path())
@click.option(
    "--out", "-o", type=click.Path(dir_okay=False, path_type=Path), help="By default build/NAME.wasm."
)
@click.option("--debug", is_flag=True, help="Keep names for backtraces, trap on undefined behaviour.")
@json_option
@pass_session
def build(session: Session, path: Path, out: Path | None, debug: bool) -> None:
    """Build the guest at PATH: a C file, or a folder with some (the current one by default)."""
    from mix_wasm.inspect import inspect as look

    output = Output(session.as_json)
    made = _built(path, out, debug, output)
    report = look(made.read_bytes())
    warnings = check_grants(session, report.manifest.grants if report.manifest else None, output)
    record = {"path": str(made), "size": report.size, "sha256": report.sha256}
    output.record(record | {"warnings": warnings} if warnings and session.as_json else record)


@wasm.command()
@click.argument("file", type=FILE)
@json_option
@pass_session
def inspect(session: Session, file: Path) -> int:
    """Show what is in a module and whether it is a guest. The status is 1 if it is none."""
    from mix_wasm.inspect import inspect as look

    report = look(file.read_bytes())
    output = Output(session.as_json)
    warnings = check_grants(session, report.manifest.grants if report.manifest else None, output)
    if session.as_json:
        output.document(report.to_dict() | {"warnings": warnings})
    else:
        _print_report(output, report)
    return 1 if report.problems else 0


def _options_of_run(command: click.Command) -> click.Command:
    """Give the command the options of `mixkit run`, but for what is about installed agents."""
    from mixkit.cli.run import run as run_code

    taken = {param.name for param in command.params}
    command.params += [
        param
        for param in run_code.params
        if isinstance(param, click.Option)
        and param.name not in (*taken, "ws_dir")
        and "--json" not in param.opts
    ]
    return command


@_options_of_run
@wasm.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.argument("entry")
@click.argument("params", required=False)
@click.option("--debug", is_flag=True, help="Build with names and lines for backtraces.")
@json_option
@pass_session
@click.pass_context
def run(
    ctx: click.Context,
    session: Session,
    /,
    path: Path,
    entry: str,
    params: str | None,
    debug: bool,
    **options: Any,
) -> None:
    """Build the guest at PATH and do what `mixkit run` does: call ENTRY with PARAMS.

    PATH is what `build` takes, or a Wasm file, which is not built. What is built is not kept.
    """
    from mix_wasm.build import default_out
    from mixkit.cli.run import run as run_code

    with tempfile.TemporaryDirectory() as scratch:
        file = path
        if path.suffix != ".wasm":
            out = Path(scratch) / default_out(path).name
            file = _built(path, out, debug, Output(session.as_json))
        ctx.invoke(run_code, code=file, entry=entry, params=params, ws_dir=None, **options)


def _built(path: Path, out: Path | None, debug: bool, output: Output) -> Path:
    """Build, and show that it takes its time: above all the first time, when there is no C library yet."""
    from mix_wasm import compiler
    from mix_wasm.build import build as make
    from mix_wasm.build import sources

    sources(path)
    if not compiler.has_libc(debug=debug):
        with output.working("building the C library"):
            compiler.make_libc(debug=debug)
    with output.working(f"building {path.name or path.resolve().name}"):
        return make(path, out, debug=debug)


def _print_report(output: Output, report: Report) -> None:
    memories = [f"{low} bytes, at most {high or 4 << 30}" for low, high in report.memories]
    output.record({"size": report.size, "sha256": report.sha256, "memory": "; ".join(memories)})
    rows = [("import", f"{module}.{name}", kind) for (module, name), kind in report.imports.items()]
    rows += [("export", name, kind) for name, kind in report.exports.items()]
    rows += [("section", name, f"{size} bytes") for name, size in report.sections]
    if report.manifest:
        rows += [("entry", e.name, f"{e.params} -> {e.result}") for e in report.manifest.entries.values()]
        rows += [
            ("grant", "ffi", pattern)
            for layer in (report.manifest.grants or CORE).patterns()
            for pattern in layer
        ]
    output.table(("what", "name", "type"), rows)
    for problem in report.problems:
        output.note(f"no guest: {problem}", "error")
