"""Signals: promises that callers and agents make, await and settle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from mix_server.auth import admit
from mix_server.bodies import read_form
from mix_server.caller import EVERYBODY, Permission, Resource
from mix_server.described import VALUE, Method
from mix_server.errors import BadRequest, Conflicting, Overloaded
from mix_server.payload import read_value
from mix_server.response import write_any
from mixkit.errors import FFIError, NotFound
from mixkit.signals import CANCELED, QUESTION, Found, Owner, Settled
from mixkit.value import ok

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["MadeSignal", "PostponedRun", "Signal", "Signals"]

_EXAMPLE: Final = '{"ws": "w", "seconds": 3600}'
_LONGEST: Final = 60.0
"""Seconds for which a request waits for a signal."""


class NewSignal(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST."""

    ws: Annotated[str, Meta(min_length=1)]
    seconds: float | None = None


class MadeSignal(TypedDict):
    """A signal; `url` is where it is awaited and settled."""

    id: str
    url: str


class Question(TypedDict):
    """What a run asks its caller: `url` takes the answers, a map as the JSON Schema says, or null, which declines."""

    message: str
    schema: dict[str, Any]
    url: str


class PostponedRun(MadeSignal):
    """The signal that a run settles, and what it asks first, if it does."""

    question: NotRequired[Question]


class State(TypedDict):
    """How it stands with a signal; `until` is its deadline in Unix seconds. A run that has a question settles another
    signal, whose address is `next`."""

    id: str
    state: Literal["pending", "ok", "error", "question"]
    until: NotRequired[float]
    value: NotRequired[Any]
    error: NotRequired[Any]
    question: NotRequired[Question]
    next: NotRequired[str]


class _Options(TypedDict):
    timeout: float


class Signals:
    """`POST /v1/signals` `{"ws", "seconds"?}`: make one in a workspace, for who may run agents there."""

    # The workspace is in the body: asked of when that was read.
    permissions: ClassVar = {"POST": EVERYBODY}
    methods: ClassVar = {
        "POST": Method(
            "Make a signal",
            {201: MadeSignal},
            takes=NewSignal,
            errors=frozenset({400, 401, 403, 404, 429}),
        )
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_post(self, req: Request, resp: Response) -> None:
        server = self._server
        wanted = await read_form(req, NewSignal, _EXAMPLE, server.settings.body_timeout)
        caller = await admit(server.authorizer, req, Permission.RUN, Resource(wanted.ws))
        await server.databases.look_up(lambda: server.store.workspace(wanted.ws))
        if wanted.seconds is not None and not 0 < wanted.seconds <= 30 * 86_400:
            raise BadRequest(f"expected seconds above 0, at most {30 * 86_400}, found {wanted.seconds:g}")
        try:
            id = await server.kernel.signals.create(Owner(wanted.ws, None, caller.user), wanted.seconds)
        except NotFound:
            raise
        except FFIError as exc:
            raise Overloaded(str(exc)) from None
        resp.status = 201
        resp.location = f"/v1/signals/{id}"
        resp.media = {"id": id, "url": resp.location}


class Signal:
    """`/v1/signals/{id}`: GET tells how it stands, and waits for as long as `timeout` says; POST settles it with the
    value in the body; DELETE cancels it.

    Who knows the id may settle it. Only who made it, or for whom an agent did, may await or cancel it, and who may do
    everything in its workspace.
    """

    permissions: ClassVar = {"GET": EVERYBODY, "POST": EVERYBODY, "DELETE": EVERYBODY}
    options: ClassVar = {"GET": frozenset({"timeout"})}
    methods: ClassVar = {
        "GET": Method(
            "Await a signal",
            {200: State},
            VALUE,
            query=_Options,
            errors=frozenset({400, 401, 403, 404, 406, 429}),
        ),
        "POST": Method(
            "Settle a signal",
            {204: None},
            takes=Any,
            taken_as=VALUE,
            errors=frozenset({400, 401, 403, 404, 409, 413}),
        ),
        "DELETE": Method("Cancel a signal", {204: None}, errors=frozenset({400, 401, 403, 404, 409})),
    }

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response, id: str) -> None:
        signals = self._server.kernel.signals
        seconds = _seconds(req)
        found = await self._own(req, id)
        outcome = found.outcome
        if outcome is None and seconds:
            try:
                with req.watch():
                    _, outcome = await signals.wait([id], found.owner, seconds)
            except TimeoutError:
                pass
            except NotFound:
                raise
            except FFIError as exc:
                raise Overloaded(str(exc)) from None
        state: dict[str, Any] = {"id": id, "state": "pending" if outcome is None else outcome.name}
        if outcome is None:
            state["until"] = found.deadline
        elif outcome.name == QUESTION:
            state |= {"question": outcome.arg["question"], "next": outcome.arg["url"]}
        else:
            state["value" if outcome.name == "ok" else "error"] = outcome.arg
        resp.set_header("Cache-Control", "no-store")
        await write_any(req.accept, resp, state)

    async def on_post(self, req: Request, resp: Response, id: str) -> None:
        server, settings = self._server, self._server.settings
        await server.authorizer.authorize(req)
        value = await read_value(req, settings.params_limit, settings.body_timeout, settings.values_limit)
        await self._settle(id, ok(value))
        resp.status = 204

    async def on_delete(self, req: Request, resp: Response, id: str) -> None:
        await self._own(req, id)
        await self._settle(id, CANCELED)
        resp.status = 204

    async def _own(self, req: Request, id: str) -> Found:
        """The signal, if the caller may await and cancel it. `NotFound` if not, as if there were none."""
        server = self._server
        req.caller = caller = await server.authorizer.authorize(req)
        workspace, dot, _ = id.partition(".")
        if dot:
            await server.authorizer.ready(caller, workspace)
            # Nothing is opened for who may not know of the workspace, whether there is one or not.
            if not server.authorizer.may(caller, Permission.SEE, Resource(workspace)):
                raise NotFound("the caller may not see the workspace")
        found = await server.kernel.signals.find(id)
        owner = found.owner
        # A machine of another workspace may have the same name, and who had a grant may have none any more.
        needed = Permission.SEE if caller.user == owner.user else Permission.ADMIN
        if server.authorizer.may(caller, needed, Resource(owner.workspace, owner.app)):
            return found
        raise NotFound("not the caller's signal")

    async def _settle(self, id: str, outcome: Any) -> None:
        try:
            await self._server.kernel.signals.settle(id, outcome)
        except NotFound:
            raise
        except Settled as exc:
            raise Conflicting(str(exc)) from None
        except FFIError as exc:
            raise BadRequest(str(exc)) from None


def _seconds(req: Request) -> float:
    """For how long the request wants to wait."""
    text = req.get_param("timeout")
    try:
        seconds = 0.0 if text is None else float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _LONGEST:
        raise BadRequest(f"expected timeout as seconds from 0 to {_LONGEST:g}, found {str(text)[:40]!r}")
    return seconds
