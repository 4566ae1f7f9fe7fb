"""Who waits for the answer of a run, as far as an agent may talk to them meanwhile. Its contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["Waiting"]


class Waiting(Protocol):
    """Whoever started a run and can be told how it goes, and be asked something. The runs that it calls have it too."""

    def progress(self, done: float, total: float | None, message: str | None) -> None:
        """Tell how far the run is. Called from any thread; never raises."""
        ...

    def number(self) -> int:
        """The number of a question that has no name of its own: 1, 2, … in the order in which they are asked."""
        ...

    async def ask(self, requests: Mapping[str, Any]) -> dict[str, Any]:
        """Ask something, and wait for the answers.

        Args:
            requests: what is asked, each under a name that is the same when the run is repeated, as `{method, params}`:
                `elicitation/create` and what else clients of the Model Context Protocol are asked.

        Returns:
            The answers, under the same names.

        Raises:
            FFIError: the caller cannot be asked that.
        """
        ...
