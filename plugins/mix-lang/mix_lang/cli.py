"""`mixkit compile` and `mixkit explain`."""

from __future__ import annotations

from pathlib import Path

import click

from mix_lang.codes import codes
from mix_lang.refused import refused
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
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", "out", type=click.Path(path_type=Path), metavar="PATH",
    help="Where the executable goes, or of a folder the folder for them; beside the sources, with the suffix .mixexe, "
    "unless given.",
)  # fmt: skip
@click.option("--check", "only", is_flag=True, help="Say what is wrong, and write nothing.")
@click.option(
    "--library",
    is_flag=True,
    help="Make a library (.mixlib), for --link: of SOURCE and what it imports, or of a folder.",
)
@click.option(
    "--link", "links", type=click.Path(exists=True, dir_okay=False, path_type=Path), multiple=True, metavar="FILE",
    help="A library with modules that SOURCE imports. Repeatable.",
)  # fmt: skip
@click.option("--remote", metavar="URL", help="Have a server of mixkit compile it.")
@click.option(
    "--token", envvar="MIXKIT_COMPILE_TOKEN", help="What that server takes; better in MIXKIT_COMPILE_TOKEN."
)
@json_option
@pass_session
def compile_(
    session: Session,
    source: Path,
    out: Path | None,
    only: bool,
    library: bool,
    links: tuple[Path, ...],
    remote: str | None,
    token: str | None,
) -> None:
    """Compile the agent in SOURCE, and the modules beside it that it imports, to an executable.

    Of a folder all modules are checked in one go, and each that has a cell output becomes an executable.
    """
    if library:
        if remote is not None or links:
            raise click.UsageError("a library is made here, and links nothing: leave out --remote and --link")
        _compile_library(session, source, out or source.with_suffix(".mixlib"), only)
        return
    if source.is_dir():
        if links:
            raise click.UsageError("of a folder all modules are there: leave out --link")
        if remote is not None:
            raise click.UsageError("a server compiles one agent: give its file")
        _compile_folder(session, source, out or source, only)
        return
    if remote is not None:
        if links:
            raise click.UsageError("a server links no libraries: leave out --remote or --link")
        _compile_remote(session, source, out, only, remote, token)
        return
    from mix_lang.compiler import build
    from mix_lang.libraries import Library
    from mix_lang.render import render_all
    from mixkit.sources import Sources

    printed = Output(session.as_json)
    with refused(printed):
        libraries = [Library(path.read_bytes()) for path in links]
        code, checked = build(Sources(source), libraries)
    diagnostics = checked.diagnostics
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


def _compile_library(session: Session, source: Path, target: Path, only: bool) -> None:
    from mix_lang.compiler import build_library, gather
    from mixkit.sources import Sources

    files = sorted(source.glob("*.mix")) if source.is_dir() else [source]
    if not files:
        raise click.BadParameter(f"there is no .mix file in {source}", param_hint="SOURCE")
    printed = Output(session.as_json)
    with refused(printed):
        sources = Sources(files[0])
        code, _ = build_library(dict(sources) if source.is_dir() else gather(sources))
    if not only:
        target.write_bytes(code)
    if session.as_json:
        printed.document({"ok": True, "output": None if only else str(target), "bytes": len(code)})
    elif not only:
        printed.line(f"{target}: {len(code)} bytes")


def _compile_folder(session: Session, folder: Path, out: Path, only: bool) -> None:
    from mix_lang.compiler import build_all
    from mix_lang.render import render_all
    from mixkit.sources import Sources

    files = sorted(folder.glob("*.mix"))
    if not files:
        raise click.BadParameter(f"there is no .mix file in {folder}", param_hint="SOURCE")
    printed = Output(session.as_json)
    with refused(printed):
        codes, checked = build_all(dict(Sources(files[0])))
    sizes = {}
    for file, code in codes.items():
        target = (out / file).with_suffix(".mixexe")
        sizes[str(target)] = len(code)
        if not only:
            out.mkdir(parents=True, exist_ok=True)
            target.write_bytes(code)
    if session.as_json:
        found = [item.record() for item in checked.diagnostics]
        printed.document({"ok": True, "diagnostics": found, "outputs": {} if only else sizes})
        return
    if checked.diagnostics:
        printed.note(render_all(checked.diagnostics).rstrip(), None)
    if not only:
        for name, size in sizes.items():
            printed.line(f"{name}: {size} bytes")


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
