"""`mixkit files`: the files of an app from the command line."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import click

from mixkit.activities import Kind
from mixkit.cli.choices import ws_dir_option
from mixkit.cli.group import Group
from mixkit.cli.noted import noted
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.cli.workspaces import agreed, find_workspace, open_store, split_app, yes_option
from mixkit.errors import NotFound
from mixkit.near import meant
from mixkit.whole_file import whole_file

if TYPE_CHECKING:
    from mixkit.filesystem import FileInfo, Files, Reading

__all__ = ["files"]

F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, None]])

_MOST_NEAR: Final = 1_000
"""Paths among which the one is that was meant."""
_COLUMNS = ("path", "size", "modified", "etag")


@click.group(cls=Group)
def files() -> None:
    """List, read, store and remove files of an app, named by --app, and --ws-dir.

    A PATH is absolute, as /public/logo.svg. What is below /public is for everybody, below /ephemeral it passes.
    """


def _app_command(function: F, *, changes: bool = False) -> Callable[..., None]:
    """Decorator: the command gets `held`, the files of the app, and `out`, beside its own arguments.

    One that changes them is noted, and gets `about`, to be filled for that.
    """

    @click.option(
        "--app", "name", metavar="WS/APP", required=True, help="Workspace and app whose files they are."
    )
    @ws_dir_option
    @json_option
    @pass_session
    @functools.wraps(function)
    def command(session: Session, /, *args: Any, name: str, ws_dir: Path | None, **options: Any) -> None:
        import asyncio

        ws, app = split_app(name)
        with session.kernel() as kernel:
            store = open_store(kernel, ws_dir)
            held = kernel.files.open(find_workspace(store, ws).place(app))
            options |= {"held": held, "out": Output(session.as_json)}
            if not changes:
                asyncio.run(function(*args, **options))
                return
            with noted(store, Kind.SAVE, ws, app) as about:
                asyncio.run(function(*args, about=about, **options))

    return command


_changing_command = functools.partial(_app_command, changes=True)


@files.command()
@click.argument("folder", metavar="[FOLDER]", default="/")
@_app_command
async def ls(folder: str, held: Files, out: Output) -> None:
    """List the files in FOLDER and all folders in it, or the one file of that path."""
    found = await _below(held, folder)
    rows = [(info.path, info.size, _when(info), info.etag) for info in found]
    shown = rows if out.as_json else [row[:3] for row in rows]
    out.table(_COLUMNS if out.as_json else _COLUMNS[:3], shown)
    if not rows:
        near = await _near(held, folder) if folder != "/" else ""
        out.note(f"no files in {folder}{near or '; `mixkit files put` stores some'}")


@files.command()
@click.argument("path")
@click.argument("target", metavar="[FILE]", default="-", type=click.Path(allow_dash=True, path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE.")
@_app_command
async def get(path: str, target: Path, force: bool, held: Files, out: Output) -> None:
    """Read the file PATH into FILE, or a file of its name in the folder FILE; `-`, or none, is stdout.

    On a terminal what is not printable is shown as escapes.
    """
    if target.is_dir():  # noqa: ASYNC240 - no loop waits for it
        target = target / path.rpartition("/")[2]
    try:
        reading = await held.read(path)
    except NotFound as exc:
        raise NotFound(f"{exc}{await _near(held, path)}") from None
    try:
        if str(target) == "-":
            if out.as_json:
                raise click.UsageError("--json and the bytes cannot both go to stdout; give a FILE")
            if sys.stdout.isatty():
                out.line(await _text(reading))
            else:
                await _written(reading, sys.stdout.buffer)
            return
        with _new_file(target, force) as file:
            await _written(reading, file)
    finally:
        await reading.close()
    out.record({"path": path, "file": str(target), "size": reading.info.size, "sha256": reading.info.sha256})


@files.command()
@click.argument("source", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.argument("path")
@click.option("--type", "kind", metavar="TYPE", help="Content type; by default guessed from PATH.")
@click.option(
    "--property", "properties", multiple=True, metavar="NAME=TEXT", help="Said of the file. Repeatable."
)
@click.option("--force", is_flag=True, help="Replace a file that has the PATH.")
@_changing_command
async def put(
    source: Path,
    path: str,
    kind: str | None,
    properties: tuple[str, ...],
    force: bool,
    held: Files,
    out: Output,
    about: dict[str, Any],
) -> None:
    """Store FILE as PATH, or under its own name in PATH if that ends with a slash; `-` is stdin."""
    from mixkit.file_fields import guessed
    from mixkit.file_value import own
    from mixkit.filesystem import ABSENT

    if path.endswith("/") and str(source) != "-":
        path += source.name
    metadata = dict(_pair(text) for text in properties)
    if len(own(metadata)) < len(metadata):
        raise click.BadParameter("names that begin with 'mixkit-' are mixkit's own", param_hint="--property")
    with _source(source) as (file, size):
        upload = await held.begin(
            path,
            content_type=kind or guessed(path, text=False),
            metadata=metadata,
            only_if=None if force else ABSENT,
        )
        try:
            with _progress(f"storing {path}", size) as sent:
                while data := file.read(1 << 20):
                    await upload.write(data)
                    sent(len(data))
            info = await upload.commit()
        finally:
            await upload.abort()
    about["file"] = path
    out.record(
        {"path": path, "size": info.size, "type": info.content_type, "sha256": info.sha256, "etag": info.etag}
    )


@files.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--recursive", "-r", is_flag=True, help="A PATH is a folder: remove all files in it.")
@yes_option
@_changing_command
async def rm(
    paths: tuple[str, ...], recursive: bool, yes: bool, held: Files, out: Output, about: dict[str, Any]
) -> None:
    """Remove files, for good."""
    removed: list[str] = []

    def done(path: str) -> None:
        removed.append(path)
        about.update({"removed": len(removed), "file": path})

    for path in paths:
        if not recursive:
            try:
                await held.delete(path)
            except NotFound as exc:
                raise NotFound(f"{exc}{await _near(held, path)}") from None
            done(path)
            continue
        found = [info.path for info in await _below(held, path)]
        if found and found != [path]:
            agreed(f"Remove {len(found)} files in {path}?", yes, out)
        for name in found:
            # Somebody else may have done it meanwhile.
            with suppress(NotFound):
                await held.delete(name)
            done(name)
    out.table(("removed",), [(path,) for path in removed])


async def _below(held: Files, path: str) -> list[FileInfo]:
    """The files in a folder and all folders in it, or the one file of that path."""
    found = [info async for info in _all(held, path)]
    if not found and not path.endswith("/"):
        with suppress(NotFound):
            found = [await held.stat(path)]
    return found


async def _near(held: Files, path: str) -> str:
    """What to say of a path that names nothing: the file, or folder, that it may have been."""
    known: set[str] = set()
    async for info in _all(held, "/"):
        parts = info.path.split("/")
        known.update("/".join(parts[:end]) for end in range(2, len(parts) + 1))
        if len(known) > _MOST_NEAR:
            break
    return meant(path.rstrip("/"), known - {path})


async def _all(held: Files, folder: str) -> AsyncIterator[FileInfo]:
    after = None
    while True:
        page = await held.list(folder, after=after)
        for info in page.files:
            yield info
        if (after := page.after) is None:
            return


async def _written(reading: Reading, file: IO[bytes]) -> None:
    """Write all of a file, and see that it is what was stored."""
    from mixkit.errors import FileError
    from mixkit.filesystem import pieces

    digest = hashlib.sha256()
    with _progress(f"reading {reading.info.path}", reading.info.size) as sent:
        async for data in pieces(reading):
            digest.update(data)
            file.write(data)
            sent(len(data))
        file.flush()
    if reading.info.sha256 not in (None, digest.hexdigest()):
        raise FileError(
            f"{reading.info.path!r:.200}: expected the SHA-256 {reading.info.sha256}, found {digest.hexdigest()}; the "
            "file is damaged where it is kept"
        )


async def _text(reading: Reading) -> str:
    """A file for a terminal, which must not be told what to do by what somebody has stored."""
    from mixkit.filesystem import PIECE

    if reading.info.size <= PIECE:
        with suppress(UnicodeDecodeError):
            return (await reading.read()).decode().removesuffix("\n")
    raise click.UsageError("only short texts are shown on a terminal; give a FILE, or pipe the bytes")


@contextmanager
def _new_file(target: Path, force: bool) -> Iterator[IO[bytes]]:
    """A file that is there when all of it is, and not before."""
    if not force and target.exists():
        raise click.UsageError(f"{str(target)!r} is there already; --force replaces it")
    try:
        with whole_file(target) as file:
            yield file
    except OSError as exc:
        raise click.FileError(str(target), exc.strerror) from None


@contextmanager
def _source(source: Path) -> Iterator[tuple[IO[bytes], int | None]]:
    """What is to be stored, and its size if that is known."""
    if str(source) == "-":
        yield sys.stdin.buffer, None
        return
    try:
        file = source.open("rb")
    except OSError as exc:
        raise click.FileError(str(source), exc.strerror) from None
    with file:
        yield file, os.fstat(file.fileno()).st_size


@contextmanager
def _progress(what: str, size: int | None) -> Iterator[Callable[[int], None]]:
    """Shows on a terminal's stderr how far it is; called with bytes that were done."""
    from mixkit.errors import printable

    if not sys.stderr.isatty() or (size is not None and size < (4 << 20)):
        yield lambda done: None
        return
    label = printable(what)[:60]
    with click.progressbar(length=size or 0, label=label, file=sys.stderr, show_pos=size is None) as bar:
        yield bar.update


def _when(info: FileInfo) -> str:
    return datetime.fromtimestamp(info.modified / 1_000, UTC).isoformat(" ", "seconds").replace("+00:00", "Z")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"expected NAME=TEXT, found {text!r:.80}", param_hint="--property")
    return name, value
