"""What a workspace has beside tools: prompts and resources, for whom may read them."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from mix_server import stored_queries
from mix_server.files.place import files_of, place_of
from mix_server.params import from_texts, parse_pairs
from mix_server.question import Question, question_of

from mix_mcp.agents import CallFailed, Gone
from mix_mcp.message import INTERNAL, INVALID_PARAMS, Fault
from mix_mcp.prompt import Prompt, filled, is_message, prompts_of
from mix_mcp.records import PROMPT, RESOURCE, Records, texts_of
from mix_mcp.resource import JSON, Named, content_of, file_uri, named_of, own, query_uri
from mix_mcp.tool import Tool
from mixkit import tagged_json
from mixkit.app_files import is_public
from mixkit.errors import MixError, NotFound, TaggedJSONError
from mixkit.filesystem import pieces

if TYPE_CHECKING:
    from mix_server.caller import Caller
    from mix_server.server import Server

    from mix_mcp.agents import AgentTools
    from mix_mcp.exchange import Exchange

__all__ = ["Library"]

_MOST_FILES: Final = 1_000
"""Files of an app that are listed."""


class Library:
    """Prompts and resources of one workspace.

    Args:
        server: which has it.
        workspace: its name.
        agents: run what makes them.
    """

    def __init__(self, server: Server, workspace: str, agents: AgentTools) -> None:
        self._server = server
        self._workspace = workspace
        self._agents = agents
        self._records = Records(server, workspace)

    # -- prompts ------------------------------------------------------------------------------

    async def prompts(self, who: Caller) -> dict[str, Prompt]:
        """By name, sorted."""
        return prompts_of(await self._records.of_type(who, PROMPT))

    async def prompt(
        self, who: Caller, name: str, arguments: dict[str, Any], waiting: Exchange
    ) -> dict[str, Any]:
        """A prompt with its arguments.

        Raises:
            Fault: there is none, the arguments do not fit, or it cannot be made.
        """
        found = (await self.prompts(who)).get(name)
        if found is None:
            raise Fault(INVALID_PARAMS, f"Unknown prompt: {name[:80]}")
        found.check(arguments)
        if found.agent is None:
            return {"description": found.listed["description"], "messages": filled(found.messages, arguments)}
        made = await self._made(who, found.app, found.agent, arguments, waiting)
        messages = made.get("messages") if isinstance(made, dict) else None
        if not isinstance(messages, list) or not all(map(is_message, messages)):
            raise Fault(INTERNAL, f"the agent {found.agent} answered no messages of a prompt")
        try:
            text = tagged_json.dumps(messages, plain=True)
        except TaggedJSONError as exc:
            raise Fault(INTERNAL, f"the agent {found.agent} answered what JSON cannot hold: {exc}") from None
        return {"description": found.listed["description"], "messages": msgspec.Raw(text.encode())}

    # -- resources ----------------------------------------------------------------------------

    async def resources(self, who: Caller) -> list[tuple[str, dict[str, Any]]]:
        """Files, stored queries that need no parameters, and what records describe: URI and entry, sorted."""
        found = {
            each.listed["uri"]: each.listed
            for each in named_of(await self._records.of_type(who, RESOURCE))
            if "uri" in each.listed
        }
        for app in await self._records.apps(who):
            database = await self._server.databases.of(self._workspace, app)
            for query in await self._server.databases.call(partial(stored_queries.names, database)):
                uri = query_uri(app, query["name"])
                found[uri] = {
                    "uri": uri,
                    "name": query["name"],
                    "description": query["description"] or f"A stored query of {app}",
                    "mimeType": JSON,
                }
            if self._server.kernel.filesystem:
                place = await place_of(self._server, self._workspace, app)
                page = await files_of(self._server, place).list("/", most=_MOST_FILES)
                for info in page.files:
                    uri = file_uri(app, info.path)
                    found[uri] = {
                        "uri": uri,
                        "name": info.path.rpartition("/")[2],
                        "description": f"A {'public' if is_public(info.path) else 'private'} file of {app}",
                        "size": info.size,
                    }
        return sorted(found.items())

    async def templates(self, who: Caller) -> list[tuple[str, dict[str, Any]]]:
        """Templates of resources that records describe, sorted."""
        found = {
            each.listed["uriTemplate"]: each.listed
            for each in named_of(await self._records.of_type(who, RESOURCE))
            if "uriTemplate" in each.listed
        }
        return sorted(found.items())

    async def read(self, who: Caller, uri: str, waiting: Exchange) -> dict[str, Any]:
        """The contents of a resource.

        Raises:
            Fault: there is none.
        """
        ours = own(uri)
        if ours is not None and ours[0] in await self._records.apps(who):
            try:
                return {"contents": [await self._read_own(uri, *ours)]}
            except NotFound:
                raise _absent(uri) from None
            except MixError as exc:
                raise Fault(INVALID_PARAMS, str(exc), {"uri": uri}) from None
        for each in named_of(await self._records.of_type(who, RESOURCE)):
            places = each.places(uri)
            if places is not None:
                return {"contents": [await self._read_named(who, uri, each, places, waiting)]}
        raise _absent(uri)

    async def completed(self, who: Caller, ref: dict[str, Any], name: str, begun: str) -> list[str]:
        """What an argument of a prompt, or a place in a template of resources, may be that begins like that.

        Raises:
            Fault: there is no such prompt or template.
        """
        values: list[str] = []
        match ref:
            case {"type": "ref/prompt", "name": str(prompt)}:
                found = (await self.prompts(who)).get(prompt)
                if found is None:
                    raise Fault(INVALID_PARAMS, f"Unknown prompt: {prompt[:80]}")
                values = found.values.get(name, [])
            case {"type": "ref/resource", "uri": str(uri)}:
                rows = [each.row for each in named_of(await self._records.of_type(who, RESOURCE))]
                row = next((row for row in rows if uri in (row.get("uriTemplate"), row.get("uri"))), None)
                if row is None:
                    raise _absent(uri)
                offered = row.get("values")
                values = texts_of(offered, name) if isinstance(offered, dict) else []
            case _:
                raise Fault(
                    INVALID_PARAMS, "expected ref as a prompt with its name, or a resource with its uri"
                )
        return [value for value in values if value.casefold().startswith(begun.casefold())]

    # -- changes ------------------------------------------------------------------------------

    async def moment(self, who: Caller) -> tuple[Any, ...]:
        """Stands for all that somebody may read: another one as soon as a database was written, or may be read."""
        found: list[Any] = []
        for app in await self._records.apps(who):
            database = await self._server.databases.of(self._workspace, app)
            found += [app, database.watermark()]
        return tuple(found)

    async def mark(self, who: Caller, uri: str) -> Any:
        """Stands for the contents of a resource that no agent makes; None of another one."""
        ours = own(uri)
        try:
            if ours is not None and ours[0] in await self._records.apps(who):
                app, kind, name, _ = ours
                if kind == "files":
                    place = await place_of(self._server, self._workspace, app)
                    return (await files_of(self._server, place).stat(f"/{name}")).etag
                return (await self._server.databases.of(self._workspace, app)).watermark()
        except MixError:
            return None
        for each in named_of(await self._records.of_type(who, RESOURCE)):
            if each.places(uri) is not None:
                return str(each.row.get("_rmx_rev"))
        return None

    async def _read_own(self, uri: str, app: str, kind: str, name: str, query: str) -> dict[str, Any]:
        if kind == "files":
            place = await place_of(self._server, self._workspace, app)
            reading = await files_of(self._server, place).read(f"/{name}")
            try:
                limit = self._server.settings.answer_limit
                if reading.info.size > limit:
                    raise Fault(INVALID_PARAMS, f"expected a file of at most {limit} bytes", {"uri": uri})
                data = b"".join([piece async for piece in pieces(reading)])
            finally:
                await reading.close()
            kind_of = reading.info.content_type or ""
            if kind_of.startswith("text/") or kind_of == JSON:
                try:
                    return content_of(uri, kind_of, data.decode())
                except UnicodeDecodeError:
                    pass
            return content_of(uri, kind_of or None, data)
        database = await self._server.databases.of(self._workspace, app)
        timeout = self._server.settings.query_timeout

        def rows() -> list[Any]:
            stored = stored_queries.find(database, name)
            params = stored.bind(from_texts(parse_pairs(query), stored.record_type))
            with question_of(stored, Question(), params).run(database, timeout) as found:
                return list(found)

        return content_of(uri, JSON, await self._server.databases.call(rows))

    async def _read_named(
        self, who: Caller, uri: str, named: Named, places: dict[str, str], waiting: Exchange
    ) -> dict[str, Any]:
        kind = named.listed.get("mimeType")
        agent = named.row.get("agent")
        if isinstance(agent, str):
            made = await self._made(who, named.app, agent, {**places, "uri": uri}, waiting)
            try:
                return content_of(uri, kind, made)
            except TaggedJSONError as exc:
                raise Fault(INTERNAL, f"the agent {agent} answered what JSON cannot hold: {exc}") from None
        for key in ("text", "blob"):
            if isinstance(named.row.get(key), str | bytes):
                return content_of(uri, kind, named.row[key])
        raise _absent(uri)

    async def _made(
        self, who: Caller, app: str, agent: str, params: dict[str, Any], waiting: Exchange
    ) -> Any:
        """What an agent answers that makes a prompt or a resource."""
        tool = Tool(f"{app}/{agent}", app, agent)
        if not self._agents.may(who, tool):
            raise Fault(INVALID_PARAMS, f"expected a grant to run {app}/{agent}, which makes it")
        try:
            result = await self._agents.run(who, tool, params, secrets.token_hex(8), None, caller=waiting)
        except Gone:
            raise Fault(INTERNAL, f"there is no agent {app}/{agent}, which is to make it") from None
        except CallFailed as exc:
            raise Fault(INTERNAL, str(exc)) from None
        waiting.end()
        return result.value


def _absent(uri: str) -> Fault:
    return Fault(INVALID_PARAMS, "Resource not found", {"uri": uri[:1_000]})
