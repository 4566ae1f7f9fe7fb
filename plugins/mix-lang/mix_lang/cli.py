"""`mixkit compile` and `mixkit explain`."""

from __future__ import annotations

from pathlib import Path

import click

from mix_lang.codes import codes
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.near import meant

__all__ = ["compile_", "explain"]

_PATIENCE = 60.0
"""Seconds that a server may say nothing."""


@click.command("explain")
@click.argument("code", required=False)
@json_option
@pass_session
def explain(session: Session, code: str | None) -> None:
    """Say what a CODE of the Mix compiler is about, such as M0301. Without one, list them all."""
    known = codes()
    if code is None:
        about = {name: " ".join(text.partition("\n\n")[0].split()) for name, text in known.items()}
        Output(session.as_json).record(about)
        return
    found = known.get(code.upper())
    if found is None:
        raise click.BadParameter(f"there is no code {code!r}{meant(code, known)}", param_hint="CODE")
    if session.as_json:
        Output().document({"code": code.upper(), "text": found})
    else:
        Output().line(found)


@click.command("compile")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o", "--output", "out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Where the executable goes; beside the source, with the suffix .mixexe, unless given.",
)  # fmt: skip
@click.option("--check", "only", is_flag=True, help="Say what is wrong, and write nothing.")
@click.option("--remote", metavar="URL", help="Have a server of mixkit compile it.")
@click.option(
    "--token", envvar="MIXKIT_COMPILE_TOKEN", help="What that server takes; better in MIXKIT_COMPILE_TOKEN."
)
@json_option
@pass_session
def compile_(
    session: Session, source: Path, out: Path | None, only: bool, remote: str | None, token: str | None
) -> None:
    """Compile the agent in SOURCE, and the modules beside it that it imports, to an executable."""
    if remote is not None:
        _compile_remote(session, source, out, only, remote, token)
        return
    from mix_lang.compiler import build, gather
    from mix_lang.errors import CompileError
    from mix_lang.render import render_all
    from mixkit.sources import Sources

    printed = Output(session.as_json)
    try:
        code, checked = build(gather(Sources(source)))
        diagnostics = checked.diagnostics
    except CompileError as exc:
        if session.as_json:
            printed.document({"ok": False, "diagnostics": [item.record() for item in exc.diagnostics]})
        else:
            printed.note(render_all(exc.diagnostics).rstrip(), None)
        raise click.exceptions.Exit(1) from None
    target = out or source.with_suffix(".mixexe")
    if not only:
        target.write_bytes(code)
    if session.as_json:
        written = None if only else str(target)
        found = [item.record() for item in diagnostics]
        printed.document({"ok": True, "diagnostics": found, "output": written, "bytes": len(code)})
        return
    if diagnostics:
        printed.note(render_all(diagnostics).rstrip(), None)
    if not only:
        printed.line(f"{target}: {len(code)} bytes")


def _compile_remote(
    session: Session, source: Path, out: Path | None, only: bool, remote: str, token: str | None
) -> None:
    from mix_lang.compiler import gather
    from mixkit.remote_compile import Task, ask, check_server
    from mixkit.sources import Sources

    try:
        url = check_server(remote)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--remote") from None
    printed = Output(session.as_json)
    found = ask(url, token, Task(gather(Sources(source)), source.name), _PATIENCE)
    if not found.ok or found.code is None:
        if session.as_json:
            printed.document({"ok": False, "message": found.message, "diagnostics": found.diagnostics})
        else:
            # What the other side wrote is not for the terminal as it is.
            printed.note(found.message, None)
        raise click.exceptions.Exit(1)
    target = out or source.with_suffix(Path(found.name or "").suffix or ".mixexe")
    if not only:
        target.write_bytes(found.code)
    if session.as_json:
        written = None if only else str(target)
        printed.document({"ok": True, "diagnostics": [], "output": written, "bytes": len(found.code)})
    elif not only:
        printed.line(f"{target}: {len(found.code)} bytes")
