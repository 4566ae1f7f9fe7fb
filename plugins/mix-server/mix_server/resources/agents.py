"""Agents: describe one, run one."""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import msgspec

from mix_server.activity import activity_by, done_by
from mix_server.agent_headers import AgentHeaders
from mix_server.asking import Asking, owner_of
from mix_server.caller import Permission
from mix_server.described import FORM, JSON, RUN, VALUE, Method
from mix_server.detached import Detached
from mix_server.errors import BadRequest, Overloaded, Stopping
from mix_server.fault import failure
from mix_server.options import ITS_OWN
from mix_server.params import TIMEOUT, read_body, read_query
from mix_server.resources.signals import PostponedRun
from mix_server.response import is_json, write_any
from mixkit import tagged_json
from mixkit.action import Invocation, Invoke, parse
from mixkit.activities import Kind
from mixkit.errors import FFIError, InternalError, LimitExceeded, NotFound
from mixkit.forms import JSONText, Packed
from mixkit.job import fitted
from mixkit.outside import is_ours
from mixkit.schema import ANY, json_schema
from mixkit.value import error, ok

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mix_server.catalog import Target
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server
    from mixkit.environment import Env
    from mixkit.job import RunResult
    from mixkit.limits import Limits
    from mixkit.value import Case

__all__ = ["Agents"]


class _RunOptions(TypedDict):
    timeout: float
    action: bool


_ACTION = "action"
"""The option that says that the body is no parameters but an action that the agent has answered."""


class Agents:
    """`/v1/ws/{ws}/app/{app}/agent/{agent}`: POST runs; GET runs with a query string, describes without one.

    `/run-agent/{ws}/{app}/{agent}`: both run.
    """

    permissions: ClassVar = {"GET": Permission.RUN, "POST": Permission.RUN}
    activities: ClassVar = {"GET": Kind.RUN, "POST": Kind.RUN}
    options: ClassVar = {"GET": ITS_OWN, "POST": frozenset({TIMEOUT, _ACTION})}
    methods: ClassVar = {
        "GET": Method(
            "Describe an agent, or run it with the parameters in the query string",
            {200: Any, 202: PostponedRun},
            VALUE,
            errors=RUN,
        ),
        "POST": Method(
            "Run an agent, or an action that it has answered",
            {200: Any, 202: PostponedRun},
            VALUE,
            takes=Any,
            taken_as=(JSON, FORM),
            query=_RunOptions,
            errors=RUN,
        ),
    }

    def __init__(self, server: Server) -> None:
        self._server = server
        self._settings = server.settings
        self._target = server.catalog.target
        self._at_hand = server.catalog.at_hand
        self._run_agent = server.runs.run
        self._signals = lambda: server.kernel.signals
        self._own_limits = server.kernel.limits

    async def on_get(self, req: Request, resp: Response, ws: str, app: str, agent: str) -> None:
        if req.query_string:
            await self.on_get_v0(req, resp, ws, app, agent)
        else:
            await self.on_head(req, resp, ws, app, agent)

    async def on_head(self, req: Request, resp: Response, ws: str, app: str, agent: str) -> None:
        # It is only described.
        req.activity = None
        target = await self._target(ws, app, agent)
        resp.media = {
            "name": agent,
            "description": target.description,
            "inParams": json_schema(target.params),
            "outParams": json_schema(target.result),
        }

    on_head_v0 = on_head

    async def on_get_v0(self, req: Request, resp: Response, ws: str, app: str, agent: str) -> None:
        target, spent = self._at_hand(ws, app, agent), 0.0
        if target is None:
            target, spent = await self._loaded(req, ws, app, agent)
        params = read_query(req.query_string, target.params)
        await self._run(req, resp, target, params, None, spent)

    async def on_post(self, req: Request, resp: Response, ws: str, app: str, agent: str) -> None:
        target, spent = self._at_hand(ws, app, agent), 0.0
        if target is None:
            target, spent = await self._loaded(req, ws, app, agent)
        settings = self._settings
        acts = bool(req.query_string) and _acts(req)
        params, body = await read_body(
            req, ANY if acts else target.params,
            settings.params_limit, settings.body_timeout, settings.values_limit,
        )  # fmt: skip
        if acts:
            params = _invocation(params)
        await self._run(req, resp, target, params, body, spent)

    on_post_v0 = on_post

    async def _loaded(self, req: Request, ws: str, app: str, agent: str) -> tuple[Target, float]:
        """The agent, and the seconds that loading it took: they count against the time of the run, which ends it."""
        began = time.monotonic()
        most = _seconds(req, self._own_limits.wall_time)
        try:
            async with asyncio.timeout(most):
                target = await self._target(ws, app, agent)
        except TimeoutError:
            raise LimitExceeded("wall_time", most, "s", "the code was still being loaded") from None
        return target, time.monotonic() - began

    async def _run(
        self,
        req: Request,
        resp: Response,
        target: Target,
        params: Any,
        body: bytes | None,
        spent: float,
    ) -> None:
        limits = _limits(req, target)
        if target.check is not None and type(params) is not Invocation:
            params = await fitted(target.check, params)
        prefers = _preferences(req) if req.prefers else frozenset()
        told = "actions" in prefers
        asking = Asking(self._signals, req, target, limits.wall_time)
        if "respond-async" in prefers:
            server = self._server
            if server.admission.stopping:
                raise Stopping
            server.runs.check_memory()
            work = partial(self._result, req, target, params, body, limits, 0.0, asking, as_json=False)
            await self._postpone(req, resp, target, told, asking, work)
            applied = ("respond-async", "actions") if told else ("respond-async",)
            resp.set_header("Preference-Applied", ", ".join(applied))
            return
        run = Detached(
            self._result(
                req, target, params, body, limits, spent, asking, as_json=not told and is_json(req.accept)
            )
        )
        asking.run = run
        with req.watch():
            result = await run.begin()
            if result is None:
                await self._hand_over(req, resp, target, told, asking, run)
                return
        if result.postponed:
            self._server.idle.after(resp, result)
        if result.actions and told:
            resp.set_header("Preference-Applied", "actions")
        await write_any(req.accept, resp, _answer(result, told))

    async def _result(
        self,
        req: Request,
        target: Target,
        params: Any,
        body: bytes | None,
        limits: Limits,
        spent: float,
        caller: Asking,
        *,
        as_json: bool,
    ) -> RunResult:
        try:
            return await self._run_agent(
                target,
                params,
                req.who,
                req.resource,
                req.id,
                _env(req, target, body),
                limits,
                spent,
                as_json=as_json,
                caller=caller,
            )
        except asyncio.CancelledError:
            # Who asked has gone, or the server ends, which lets nothing be done behind an answer any more.
            self._server.activities.record(activity_by(done_by(req, Kind.RUN, 499)))
            req.activity = None
            raise

    async def _hand_over(
        self,
        req: Request,
        resp: Response,
        target: Target,
        told: bool,
        asking: Asking,
        run: Detached[RunResult],
    ) -> None:
        """Answer with what the run asks, and let it go on behind that."""
        going_on = run.go_on()
        try:
            await self._postpone(req, resp, target, told, asking, lambda: going_on)
        except BaseException:
            going_on.cancel()
            await asyncio.wait((going_on,))
            raise
        resp.media |= {"question": asking.question}

    async def _postpone(
        self,
        req: Request,
        resp: Response,
        target: Target,
        told: bool,
        asking: Asking,
        run: Callable[[], Awaitable[RunResult]],
    ) -> None:
        """Answer now, with a signal that what the run answers settles (RFC 7240, section 4.1)."""
        server, place = self._server, target.place
        agent = f"{place.workspace}/{place.app}/{req.path.rpartition('/')[2]}"

        async def work() -> Case:
            try:
                result = await run()
            except BaseException as exc:
                # What a plugin lets out must not end the event loop.
                if is_ours(exc):
                    raise
                known = (
                    exc
                    if isinstance(exc, Exception)
                    else InternalError(f"a run failed: {type(exc).__name__}")
                )
                status, answer = failure(req, known, agent)
                server.activities.record(activity_by(done_by(req, Kind.RUN, status)))
                return error(answer)
            if result.postponed:
                server.idle.begin(result)
            server.activities.record(activity_by(done_by(req, Kind.RUN, 200)))
            answer = _answer(result, told)
            return ok(tagged_json.loads(answer) if type(answer) is JSONText else answer)

        try:
            going = await server.postponed.start(owner_of(target, req.who), work)
        except NotFound:
            raise
        except FFIError as exc:
            raise Overloaded(str(exc)) from None
        # It is noted when it has ended.
        req.activity = None
        resp.status = 202
        asking.goes_on(going)
        resp.media = going.shown
        resp.location = resp.media["url"]


def _preferences(req: Request) -> frozenset[str]:
    """What the caller prefers, without what stands behind `=` and `;`."""
    header = req.get_header("Prefer") or ""
    return frozenset(part.partition(";")[0].partition("=")[0].strip().lower() for part in header.split(","))


def _answer(result: RunResult, told: bool) -> Any:
    return {"result": result.value, "actions": result.actions} if result.actions and told else result.value


def _env(req: Request, target: Target, body: bytes | None) -> Env:
    decompressed = req.coded and req.coding is not None
    headers = AgentHeaders(req.scope["headers"], decompressed=decompressed)
    return target.env.for_request(user=req.who.user, headers=headers, body=body)


def _acts(req: Request) -> bool:
    text = req.get_param(_ACTION)
    if text not in (None, "true", "false"):
        raise BadRequest(f"expected {_ACTION} as true or false, found {text[:40]!r}")
    return text == "true"


def _invocation(params: Any) -> Invocation:
    """The body as an action. Whoever sends one may have changed it: it can do no more than parameters could."""
    try:
        found = parse(params.value() if type(params) is Packed else params)
    except FFIError as exc:
        raise BadRequest(str(exc)) from None
    if not isinstance(found, Invoke):
        raise BadRequest("expected an action with _rmx_type msg_view_invoke: others are the client's to do")
    return Invocation((found,))


def _limits(req: Request, target: Target) -> Limits:
    if not req.query_string:
        return target.limits
    most = target.limits.wall_time
    seconds = _seconds(req, most)
    return target.limits if seconds == most else msgspec.structs.replace(target.limits, wall_time=seconds)


def _seconds(req: Request, most: float) -> float:
    """What the request allows a run, or else `most`."""
    text = req.get_param(TIMEOUT) if req.query_string else None
    if text is None:
        return most
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= most:
        raise BadRequest(f"expected timeout as seconds above 0, at most {most:g}, found {text[:40]!r}")
    return seconds
