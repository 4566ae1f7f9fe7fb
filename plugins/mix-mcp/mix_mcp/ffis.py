"""What agents may ask of the client that has called them as a tool."""

from __future__ import annotations

from typing import Final

from mixkit.errors import FFIError
from mixkit.ffi import FFIGroup
from mixkit.state import State
from mixkit.value import Result, Value

__all__ = ["KINDS", "ffis"]

ffis = FFIGroup("mcp")

KINDS: Final = ("elicitation/create", "sampling/createMessage", "roots/list")
"""What clients can be asked."""


@ffis.register("$mcp_ask")
async def ask(state: State, requests: dict[str, Value]) -> Result[Value]:
    """Ask the client several things at once: `{name: {method, params}}`, of the methods `elicitation/create`,
    `sampling/createMessage`, `roots/list`. `ok({name: answer})`, or `error(message)` if there is no client, or
    none that can do that.

    The run may be begun anew with the answers, and asks the same again then, under the same names.
    """
    for name, request in requests.items():
        if type(request) is not dict or request.get("method") not in KINDS:
            raise FFIError(
                f"expected {name!r:.80} as {{method, params}} with one of the methods {', '.join(KINDS)}"
            )
    if not requests:
        return {}
    if state.caller is None:
        raise FFIError("nobody to ask")
    return await state.caller.ask(requests)
