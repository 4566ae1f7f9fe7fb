"""What was done in a workspace, and what its guests wrote: all of it for who administers it, others see their own."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, NotRequired, TypedDict

import msgspec

from mix_server.access.subject import ANONYMOUS, check_subject
from mix_server.bodies import read_form
from mix_server.caller import Permission, Resource
from mix_server.described import Method
from mix_server.errors import BadRequest, Forbidden
from mixkit.activities import OPERATOR, Activity, Kind, Output, Position, Result, Wanted, named
from mixkit.errors import KeyRingError, MixError
from mixkit.package.names import check_name

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Activities", "CountActivities", "GuestOutput", "ServerActivities"]

PAGE: Final = 100
MOST: Final = 1_000

_PURPOSE: Final = "place among activities"
_PLACE: Final = struct.Struct(">qq")
_EXAMPLE: Final = '{"kind": "run", "app": "APP", "since": "2026-01-31T12:00:00Z"}'
_FILTER: Final = frozenset({"app", "agent", "run", "subject", "since", "until"})
_RUN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
_PAGED: Final = frozenset({"limit", "before", "after"})


class ActivityDescription(TypedDict):
    """What was done: `time` is when it began, `about` more of it."""

    time: str
    kind: str
    subject: str
    result: str
    seconds: float
    status: NotRequired[int]
    workspace: NotRequired[str]
    app: NotRequired[str]
    agent: NotRequired[str]
    run: NotRequired[str]
    about: NotRequired[dict[str, Any]]


class Page(TypedDict):
    """Activities, the newest first, and `next`, which is `before` for the next page of older ones; with `after` the
    oldest first. `latest` is `after` for what comes from now on. With `count`, only how many there are."""

    activities: NotRequired[list[ActivityDescription]]
    next: NotRequired[str | None]
    latest: NotRequired[str]
    count: NotRequired[int]


class Count(TypedDict):
    """How many activities there are."""

    count: int


class Line(TypedDict):
    """A line that a guest wrote."""

    time: str
    subject: str
    app: str
    agent: str
    run: str
    level: int
    text: str


class Lines(TypedDict):
    """Lines of guests, the newest first; with `after` the oldest first. `next` and `latest` as of activities."""

    output: list[Line]
    next: NotRequired[str | None]
    latest: str


class _Options(TypedDict):
    kind: Kind
    result: Result
    count: bool
    limit: int


class _LineOptions(TypedDict):
    limit: int


class Activities:
    """`GET …/activities`: who administers the workspace sees all, others what they did themselves."""

    permissions: ClassVar = {"GET": Permission.SEE}
    options: ClassVar = {"GET": _FILTER | _PAGED | {"kind", "result", "count"}}
    methods: ClassVar = {"GET": Method("What was done, by whom and when", {200: Page}, query=_Options)}

    def __init__(self, server: Server) -> None:
        self._server = server
        self._kept = server.activities

    async def on_get(self, req: Request, resp: Response, ws: str | None = None) -> None:
        wanted = _wanted(self._server, req, ws)
        if req.get_param_as_bool("count"):
            for name in _PAGED:
                if req.has_param(name):
                    raise BadRequest(f"expected no {name} beside count")
            resp.media = {"count": await asyncio.to_thread(self._kept.count, ws, wanted)}
            return
        limit, before, after = _page(req)
        places = _Places(self._server, ws)
        if after is not None:
            following = self._kept.follow(ws, wanted, places.read(after, "after"))
            found = await asyncio.to_thread(following.next, limit)
            resp.media = {
                "activities": [_described(each) for each in found],
                "latest": places.text(following.after),
            }
            return

        def read() -> tuple[Position, list[Activity], Position | None]:
            # Before what is found: what is noted meanwhile is answered twice then, and never passed over.
            latest = self._kept.latest(ws)
            at = None if before is None else places.read(before, "before")
            return latest, *self._kept.find(ws, wanted, before=at, most=limit)

        latest, found, following_page = await asyncio.to_thread(read)
        resp.media = {
            "activities": [_described(each) for each in found],
            "next": None if following_page is None else places.text(following_page),
            "latest": places.text(latest),
        }


class ServerActivities(Activities):
    """`GET /v1/activities`: what was done in no workspace, or in one that is gone by now."""

    permissions: ClassVar = {"GET": Permission.ADMIN}


class NewCount(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /count-activities/{ws}`: as the options of `GET …/activities`."""

    kind: str | None = None
    result: str | None = None
    app: str | None = None
    agent: str | None = None
    run: str | None = None
    subject: str | None = None
    since: str | int | None = None
    until: str | int | None = None


class CountActivities:
    """`POST /count-activities/{ws}`: how many activities there are, of those that are wanted."""

    permissions: ClassVar = {"POST": Permission.SEE}
    methods: ClassVar = {"POST": Method("How many activities there are", {200: Count}, takes=NewCount)}

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_post(self, req: Request, resp: Response, ws: str) -> None:
        body = await read_form(req, NewCount, _EXAMPLE, self._server.settings.body_timeout)
        given = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not None}
        wanted = _own(self._server, req, ws, _read(given))
        resp.media = {"count": await asyncio.to_thread(self._server.activities.count, ws, wanted)}


class GuestOutput:
    """`GET …/output`: what guests wrote to their log and standard streams, by the same rule as activities."""

    permissions: ClassVar = {"GET": Permission.SEE}
    options: ClassVar = {"GET": _FILTER | _PAGED}
    methods: ClassVar = {
        "GET": Method("What guests wrote to their log and standard streams", {200: Lines}, query=_LineOptions)
    }

    def __init__(self, server: Server) -> None:
        self._server = server
        self._kept = server.activities.output

    async def on_get(self, req: Request, resp: Response, ws: str) -> None:
        wanted = _wanted(self._server, req, ws)
        limit, before, after = _page(req)
        places = _Places(self._server, ws)
        if after is not None:
            following = self._kept.follow(ws, wanted, places.read(after, "after").runs)
            lines = await asyncio.to_thread(following.next, limit)
            resp.media = {
                "output": [_described(each) for _, each in lines],
                "latest": places.text(Position(following.after)),
            }
            return

        def read() -> tuple[int, list[tuple[int, Output]]]:
            latest = self._kept.latest(ws)
            at = None if before is None else places.read(before, "before").runs
            found = []
            for each in self._kept.backwards(ws, wanted, at):
                found.append(each)
                # One more says that there is a next page.
                if len(found) > limit:
                    break
            return latest, found

        latest, found = await asyncio.to_thread(read)
        page = found[:limit]
        resp.media = {
            "output": [_described(each) for _, each in page],
            "next": places.text(Position(page[-1][0])) if len(found) > limit else None,
            "latest": places.text(Position(latest)),
        }


def _wanted(server: Server, req: Request, ws: str | None) -> Wanted:
    names = _FILTER | {"kind", "result"}
    given = {name: req.get_param(name) for name in names if req.has_param(name)}
    return _own(server, req, ws, _read(given))


def _own(server: Server, req: Request, ws: str | None, wanted: Wanted) -> Wanted:
    """What is wanted of what the caller may see."""
    if server.authorizer.may(req.who, Permission.ADMIN, Resource(ws)):
        return wanted
    own = req.who.named
    if own == ANONYMOUS:
        # Others are that as well.
        raise Forbidden("expected somebody in particular, whose activities these could be")
    if wanted.subject not in (None, own):
        raise Forbidden(f"expected the permission {Permission.ADMIN} here for the activities of others")
    return msgspec.structs.replace(wanted, subject=own)


def _read(given: dict[str, Any]) -> Wanted:
    """The filter of these options. `BadRequest` for one that says nothing."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        try:
            match name:
                case "kind":
                    found[name] = named(Kind, value)
                case "result":
                    found[name] = named(Result, value)
                case "since" | "until":
                    found[name] = _microseconds(name, value)
                case "subject":
                    found[name] = (
                        value if value == OPERATOR or value.startswith("sub/") else check_subject(value)
                    )
                case "run":
                    found[name] = _run(value)
                case _:
                    found[name] = check_name(name, value)
        except BadRequest:
            raise
        except MixError as exc:
            raise BadRequest(f"{name}: {exc}") from None
    return Wanted(**found)


def _run(text: str) -> str:
    if not _RUN.fullmatch(text):
        raise BadRequest(f"expected run as X-Request-Id has it, found {text[:40]!r}")
    return text


def _microseconds(name: str, value: str | int) -> int:
    """A moment: Unix milliseconds, or an ISO 8601 time with a zone."""
    text = str(value)
    if text.isascii() and text.isdigit() and len(text) < 16:
        return int(text) * 1_000
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise BadRequest(
            f"expected {name} as Unix milliseconds or a time with a zone, as 2026-01-31T12:00:00Z, found {text[:40]!r}"
        )
    return int(when.timestamp() * 1_000_000)


def _page(req: Request) -> tuple[int, str | None, str | None]:
    limit = req.get_param_as_int("limit", default=PAGE, min_value=1, max_value=MOST)
    before, after = req.get_param("before"), req.get_param("after")
    if before is not None and after is not None:
        raise BadRequest("expected before or after, found both")
    return limit, before, after


class _Places:
    """Places in the lists of a workspace as callers get them: nobody learns by one how much others do."""

    def __init__(self, server: Server, ws: str | None) -> None:
        self._ring = server.kernel.keyring
        self._of = (ws or "").encode()

    def text(self, place: Position) -> str:
        sealed = self._ring.seal(_PURPOSE, _PLACE.pack(*place), self._of)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def read(self, text: str, name: str) -> Position:
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
            return Position(*_PLACE.unpack(self._ring.open(_PURPOSE, sealed, self._of)))
        except (binascii.Error, ValueError, KeyRingError, struct.error):
            raise BadRequest(
                f"expected {name} as an answer of this list has it, found {text[:40]!r}"
            ) from None


def _described(found: Activity | Output) -> dict[str, Any]:
    described: dict[str, Any] = msgspec.to_builtins(found)
    if isinstance(found, Activity):
        described |= {"result": found.result.value, "seconds": round(found.seconds, 6)}
    when = datetime.fromtimestamp(found.time / 1_000_000, UTC)
    return described | {"time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
