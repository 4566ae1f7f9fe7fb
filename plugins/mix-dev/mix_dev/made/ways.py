"""How those ask who use what is served: by HTTP, by MCP, in a browser."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from mixkit.schema import RecordType

if TYPE_CHECKING:
    from mixkit.cli.runnable import Runnable

__all__ = ["TOKEN", "open_page", "ways"]

TOKEN: Final = "MIXKIT_SERVER_TOKEN"
"""The variable with what callers must send."""
_SAMPLES: Final = {"string": "…", "int": 1, "float": 1.5, "number": 1, "bool": True}
"""Values of types, for parameters in the line for curl."""


def ways(
    agents: Mapping[str, Runnable],
    ws: str,
    url: str,
    token: str | None,
    mcp: Sequence[str],
    page: str,
) -> Iterator[str]:
    """Lines for people, of which one copies what one needs.

    Args:
        url: of the server.
        token: what it wants; None if that is in the variable, and nobody need read it here.
        mcp: the command of a client that starts a program; empty if the profile has none.
        page: where the administration is; "" if the profile has none.
    """
    for agent in agents.values():
        name = agent.name.rpartition("/")[2]
        yield f"curl -s {url}/v1/ws/{ws}/app/{agent.app}/agent/{name} \\"
        params = json.dumps(_sample(agent), ensure_ascii=False)
        yield f'  -H "Authorization: Bearer {token or f"${TOKEN}"}" --json {shlex.quote(params)}'
    if mcp:
        headers = {"Authorization": f"Bearer {token or f'${{{TOKEN}}}'}"}
        server = {"type": "http", "url": f"{url}/mcp/{ws}", "headers": headers}
        yield f"MCP: {json.dumps({'mcpServers': {ws: server}})}"
        yield f"MCP: {shlex.join(mcp)}"
    if page:
        yield f"page: {page}"


def _sample(agent: Runnable) -> dict[str, object]:
    if not isinstance(agent.params, RecordType):
        return {}
    return {
        name: _SAMPLES.get(str(field.type))
        for name, field in agent.params.fields.items()
        if not field.optional
    }


def open_page(url: str, wanted: bool | None) -> None:
    """Show a page in the browser of who sits here.

    Args:
        wanted: None: if somebody sits here, which is on a terminal of a desk, and in no CI.
    """
    desk = (
        sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    away = os.environ.get("CI") or os.environ.get("SSH_CONNECTION")
    if wanted if wanted is not None else desk and not away and sys.stdout.isatty():
        import webbrowser

        webbrowser.open(url)
