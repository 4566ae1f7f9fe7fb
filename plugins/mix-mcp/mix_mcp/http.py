"""MCP over HTTP: `POST /mcp/{ws}`, each message a request of its own, both revisions at one address."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mix_mcp.bridge import Asked, Bridge
from mix_mcp.message import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    UNSUPPORTED_VERSION,
    Fault,
    Message,
    answer,
    failure,
    read,
)
from mix_mcp.revision import LATEST, LEVELS, MODERN, SESSIONS, SUPPORTED, Client, client_of, of_session
from mix_server.caller import Permission
from mix_server.described import JSON, Method

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Endpoint"]

_NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Methods to the parameter that stands in the header Mcp-Name too."""
_STATUS: Final = {METHOD_NOT_FOUND: 404}


class Endpoint:
    """`POST /mcp/{ws}`: a message of a client, and the answer to it."""

    permissions: ClassVar = {"POST": Permission.SEE}
    methods: ClassVar = {
        "POST": Method("A message of the Model Context Protocol", {200: dict[str, Any], 202: None}, takes=Any, others=True)
    }

    def __init__(self, server: Server) -> None:
        self._server = server
        self._bridges: dict[str, Bridge] = {}

    async def on_post(self, req: Request, resp: Response, ws: str) -> None:
        settings = self._server.settings
        bridge = self._bridges.get(ws)
        if bridge is None:
            # Who may not see it has been refused already; one that is not there is said by the store.
            self._server.store.workspace(ws).apps()
            bridge = self._bridges[ws] = Bridge(self._server, ws)
        resp.content_type = JSON
        message: Message | None = None
        try:
            if (req.content_type or "").partition(";")[0].strip().lower() != JSON:
                raise Fault(PARSE_ERROR, f"expected a message as {JSON}")
            message = read(await req.body(settings.params_limit, settings.body_timeout))
            if message.id is None:
                resp.status = 202
                return
            client = _client(req, message)
            if message.method == "initialize" and not client.modern:
                resp.data = answer(message.id, bridge.initialized(message.params)[1])
                return
            told: list[bytes] = []
            asked = Asked(message.id, req.who, client, req.id, told.append)
            with req.watch():
                result = answer(message.id, await bridge.handle(asked, message))
        except Fault as fault:
            resp.status = 200 if message is not None and _of_session(req) else _STATUS.get(fault.code, 400)
            if fault.code == METHOD_NOT_FOUND and not _of_session(req):
                resp.status = 404
            resp.data = failure(None if message is None else message.id, fault)
            return
        if told:
            resp.content_type = "text/event-stream"
            resp.data = b"".join(b"event: message\ndata: " + line + b"\n\n" for line in [*told, result])
        else:
            resp.data = result


def _of_session(req: Request) -> bool:
    return req.get_header("MCP-Protocol-Version") in (None, *SESSIONS)


def _client(req: Request, message: Message) -> Client:
    """Who sends a message, of whose headers and body one says what the other does."""
    client = client_of(message.params)
    version = req.get_header("MCP-Protocol-Version")
    if client is None:
        if version == MODERN:
            raise Fault(INVALID_PARAMS, "expected _meta with the revision of the protocol and what the client can do")
        if version is not None and version not in SESSIONS:
            raise Fault(
                UNSUPPORTED_VERSION,
                "Unsupported protocol version",
                {"supported": SUPPORTED, "requested": version[:40]},
            )
        return of_session(Client(version or LATEST, {}, LEVELS.index("info")), message.params)
    _same("MCP-Protocol-Version", version, client.version)
    _same("Mcp-Method", req.get_header("Mcp-Method"), message.method)
    key = _NAMED.get(message.method)
    if key is not None:
        found = message.params.get(key)
        _same("Mcp-Name", _plain(req.get_header("Mcp-Name")), found if type(found) is str else "")
    return client


def _same(name: str, found: str | None, expected: str) -> None:
    if found != expected:
        said = "none" if found is None else repr(found[:80])
        raise Fault(HEADER_MISMATCH, f"Header mismatch: expected {name} as the body has it, {expected[:80]!r}, found {said}")


def _plain(header: str | None) -> str | None:
    """What a header says, which may be written as Base64 between `=?base64?` and `?=`."""
    if header is None or not (header.startswith("=?base64?") and header.endswith("?=")):
        return header
    try:
        return base64.b64decode(header[9:-2], validate=True).decode()
    except (ValueError, binascii.Error):
        raise Fault(HEADER_MISMATCH, "Header mismatch: expected Base64 between =?base64? and ?=") from None
