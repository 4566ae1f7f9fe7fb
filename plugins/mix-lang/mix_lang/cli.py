"""`mixkit compile` and `mixkit explain`."""

from __future__ import annotations

from pathlib import Path

import click

from mix_lang.codes import codes
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.near import meant

__all__ = ["compile_", "explain"]


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
@json_option
@pass_session
def compile_(session: Session, source: Path, out: Path | None, only: bool) -> None:
    """Compile the agent in SOURCE, and the modules beside it that it imports, to an executable."""
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
