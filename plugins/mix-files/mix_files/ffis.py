"""`$file_get`, `read`, `list`, `create`, `delete`, `rename`, `copy`, `register` and `props`."""

from __future__ import annotations

import codecs
from functools import partial
from typing import Any, Final

from mix_files.options import (
    ChangeOptions,
    CreateOptions,
    GetOptions,
    ListOptions,
    PropsOptions,
    ReadOptions,
    condition,
    tagged,
)
from mix_files.reach import READ, WRITE, app_of, check_folders, files_of, may, may_list
from mix_files.sending import Busy, Sending
from mix_files.settings import FilesSettings
from mixkit.errors import FFIError, LimitExceeded
from mixkit.ffi import FFIGroup
from mixkit.file_fields import guessed
from mixkit.file_urls import signed_query
from mixkit.file_value import REGISTERED, check_url, file_value, own, stands_for
from mixkit.filesystem import pieces
from mixkit.octets import joined
from mixkit.state import State
from mixkit.value import Result, Token

__all__ = ["group"]

group = FFIGroup(
    "files",
    options={
        READ: 'folders that it may read, as ["/public", "/inbox"]; all if not set',
        WRITE: 'folders that it may write, as ["/public", "/inbox"]; all if not set',
    },
    checks={option: partial(check_folders, option) for option in (READ, WRITE)},
)

_MOST: Final = 1_000
_ROOM: Final = 1_024
"""Bytes of an answer that are not the file's."""

_READ: Final = ReadOptions()
_CREATE: Final = CreateOptions()
_LIST: Final = ListOptions()
_CHANGE: Final = ChangeOptions()

File = dict[str, Any]


@group.register("$file_get")
async def file_get(state: State, path: str, options: GetOptions | None = None) -> Result[File]:
    """What is known of a file: `{app, path, kind, metadata, url}`, where metadata is
    `{size, contentType, sha256, etag, modified, properties}` and `modified` is in Unix milliseconds.

    `$file_get("/public/logo.svg")` answers `ok({path: "/public/logo.svg", url: "/v1/ws/…", …})`. The URL is for whoever
    may read the app, below `/public` for everybody; with `{signedFor: 3600}` for whoever has it, for an hour.
    """
    place = app_of(state)
    info = await files_of(state).stat(may(state, READ, path))
    value = file_value(place, info)
    if options is not None and options.signedFor is not None and stands_for(info) is None:
        if value["url"] is None:
            raise FFIError("signedFor: this run is in no workspace, so no server answers its files")
        try:
            query = signed_query(state.services.keyring, place, path, options.signedFor)
        except ValueError as exc:
            raise FFIError(f"signedFor: {exc}") from None
        value["url"] += f"?{query}"
    return value


@group.register("$file_read")
async def file_read(state: State, path: str, options: ReadOptions | None = None) -> Result[File]:
    """A part of a file: `{data, start, next, size, etag}`. `next` is where the next part begins, null at the end.

    A long file is read in parts, all of one version: `$file_read("/big", {start: part.next, ifMatch: part.etag})`.
    `data` is binary, with `text: true` a string, which no part cuts inside of a character.
    """
    wanted = options or _READ
    budget = state.budget
    most = min(_settings(state).read_bytes, max(1, budget.limits.call_size - _ROOM))
    if wanted.length is not None:
        if wanted.length < 0:
            raise FFIError(f"length: expected bytes from 0 on, found {wanted.length}")
        most = min(most, wanted.length)
    if wanted.start < 0:
        raise FFIError(f"start: expected bytes from 0 on, found {wanted.start}")
    only_if = None if wanted.ifMatch is None else tagged(wanted.ifMatch)
    reading = await files_of(state).read(
        may(state, READ, path), start=wanted.start, stop=wanted.start + most, only_if=only_if
    )
    try:
        if (url := stands_for(reading.info)) is not None:
            raise FFIError(
                f"{path!r:.200} stands for {url!r:.200}, whose bytes are there; $http_do reads them"
            )
        budget.spend("file_bytes", reading.stop - reading.start)
        parts = [piece async for piece in pieces(reading)]
    finally:
        await reading.close()
    raw, size = joined(parts), reading.info.size
    data: bytes | str = raw
    stop = reading.start + len(raw)
    if wanted.text:
        data, stop = _text(raw, reading.start, stop == size, path)
    more = stop if stop < size and (raw or most) else None
    return {"data": data, "start": reading.start, "next": more, "size": size, "etag": reading.info.etag}


@group.register("$file_list")
async def file_list(state: State, folder: str = "/", options: ListOptions | None = None) -> Result[File]:
    """The files in a folder and all folders in it, in order of their paths: `{files, after}`. With `after` the next
    page is asked for; it is null behind the last. The metadata of a file in a list is `{size, etag, modified}`."""
    wanted = options or _LIST
    if not 1 <= wanted.limit <= _MOST:
        raise FFIError(f"limit: expected 1 to {_MOST} files, found {wanted.limit}")
    place = app_of(state)
    page = await files_of(state).list(may_list(state, folder), after=wanted.after, most=wanted.limit)
    return {"files": [file_value(place, info) for info in page.files], "after": page.after}


@group.register("$file_create")
async def file_create(
    state: State, path: str | Token, content: str | bytes, options: CreateOptions | None = None
) -> Result[Any]:
    """Store a file and answer it, once it is on disk. One that has the path is replaced only with `force`, or with
    `ifMatch` if it has that ETag.

    A long file comes in pieces: with `more: true` the answer is a handle, which takes the place of the path in the next
    call, `$file_create(handle, piece, {more: true})`; the last call has no `more`, and answers the file. Nobody sees it
    before, and if the run ends before, there is none.
    """
    wanted = options or _CREATE
    data = content.encode() if isinstance(content, str) else content
    if isinstance(path, Token):
        if wanted.contentType is not None or wanted.properties is not None or wanted.force or wanted.ifMatch:
            raise FFIError(
                "expected all that is said of a file with its first piece, found it with a later one"
            )
        return await _go_on(state, path, data, more=wanted.more)
    may(state, WRITE, path)
    only_if = condition(wanted.force, wanted.ifMatch)
    kind = wanted.contentType or guessed(path, text=isinstance(content, str))
    metadata = _properties(wanted.properties or {})
    files, place = files_of(state), app_of(state)
    if not wanted.more:
        state.budget.spend("file_bytes", len(data))
        return file_value(
            place, await files.put(path, data, content_type=kind, metadata=metadata, only_if=only_if)
        )
    sending = Sending.admitted(state, _settings(state).uploads)
    await sending.begin(files.begin(path, content_type=kind, metadata=metadata, only_if=only_if))
    try:
        handle = state.hold(sending, Sending.end)
    except LimitExceeded:
        sending.end()
        raise
    return await _go_on(state, handle, data, more=True)


@group.register("$file_delete")
async def file_delete(state: State, path: str, ifMatch: str | None = None) -> Result[None]:
    """Delete a file, if need be only the version with that ETag."""
    only_if = None if ifMatch is None else tagged(ifMatch)
    await files_of(state).delete(may(state, WRITE, path), only_if=only_if)


@group.register("$file_rename")
async def file_rename(
    state: State, source: str, target: str, options: ChangeOptions | None = None
) -> Result[File]:
    """Give a file another path and answer it. One that has the path is replaced as by `$file_create`."""
    wanted = options or _CHANGE
    only_if = condition(wanted.force, wanted.ifMatch)
    may(state, READ, source)
    info = await files_of(state).rename(may(state, WRITE, source), may(state, WRITE, target), only_if=only_if)
    return file_value(app_of(state), info)


@group.register("$file_copy")
async def file_copy(
    state: State, source: str, target: str, options: ChangeOptions | None = None
) -> Result[File]:
    """Store a file under another path too and answer that. One that has the path is replaced as by `$file_create`."""
    wanted = options or _CHANGE
    only_if = condition(wanted.force, wanted.ifMatch)
    files = files_of(state)
    state.budget.spend("file_bytes", (await files.stat(may(state, READ, source))).size)
    if source == may(state, WRITE, target):
        raise FFIError(f"expected two paths, found {source!r:.200} twice")
    return file_value(app_of(state), await files.copy(source, target, only_if=only_if))


@group.register("$file_register")
async def file_register(
    state: State, path: str, url: str, options: CreateOptions | None = None
) -> Result[File]:
    """Let a file stand for a URL elsewhere, which is its `url` then. Nothing is fetched; its bytes are read there."""
    wanted = options or _CREATE
    if wanted.more:
        raise FFIError("more: a file that stands for a URL has no pieces")
    only_if = condition(wanted.force, wanted.ifMatch)
    kind = wanted.contentType or guessed(may(state, WRITE, path), text=False)
    metadata = _properties(wanted.properties or {}) | {REGISTERED: check_url(url)}
    info = await files_of(state).put(path, b"", content_type=kind, metadata=metadata, only_if=only_if)
    return file_value(app_of(state), info)


@group.register("$file_props")
async def file_props(state: State, path: str, changes: PropsOptions | None = None) -> Result[File]:
    """The metadata of a file; with changes, what it is after them: `$file_props("/a", {properties: {who: "Ann"}})`."""
    files = files_of(state)
    info = await files.stat(may(state, READ, path))
    if changes is not None:
        may(state, WRITE, path)
        if changes.ifMatch is not None and tagged(changes.ifMatch) != info.etag:
            # The store tells it in its own words, of what is there by then.
            await (await files.read(path, start=0, stop=0, only_if=changes.ifMatch)).close()
        state.budget.spend("file_bytes", info.size)
        said = dict(info.metadata or {})
        for name, text in _properties(changes.properties or {}).items():
            if text is None:
                said.pop(name, None)
            else:
                said[name] = text
        info = await files.copy(
            path, path, content_type=changes.contentType, metadata=said, only_if=info.etag
        )
    metadata: File = file_value(app_of(state), info)["metadata"]
    return metadata


async def _go_on(state: State, handle: Token, data: bytes, *, more: bool) -> Any:
    sending = state.held(handle, Sending)
    try:
        state.budget.spend("file_bytes", len(data))
        await sending.write(data)
        if more:
            return handle
        sent = file_value(app_of(state), await sending.commit())
    except Busy:
        raise
    except BaseException:
        await sending.give_up()
        state.release(handle)
        raise
    state.release(handle)
    return sent


def _settings(state: State) -> FilesSettings:
    settings: FilesSettings = state.services.settings("files")
    return settings


def _properties(given: dict[str, Any]) -> dict[str, Any]:
    if len(own(given)) < len(given):
        raise FFIError("properties: names that begin with 'mixkit-' are mixkit's own")
    return given


def _text(raw: bytes, start: int, is_all: bool, path: str) -> tuple[str, int]:
    """The text, and where it ends. A character that goes on in the next part is left to it."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(raw, final=is_all)
    except UnicodeDecodeError as exc:
        raise FFIError(
            f"{path!r:.200} is not UTF-8 from its byte {start + exc.start} on; read it as binary, without text"
        ) from None
    kept = len(decoder.getstate()[0])
    if raw and not text and kept:
        raise FFIError(f"length: expected room for a character, at least 4 bytes, found {len(raw)}")
    return text, start + len(raw) - kept
