"""Whom a run has greeted."""

from __future__ import annotations

import logging

from mixkit.errors import FFIError

__all__ = ["Guests"]

_log = logging.getLogger("mixkit.greeting")


class Guests:
    """Names, in the order in which they were greeted; at most `most` of them."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.names: list[str] = []

    def add(self, name: str) -> None:
        """Remember somebody. `FFIError` if the name is empty, or there are too many."""
        if not name.strip():
            raise FFIError("whom shall I greet? The name is empty")
        if len(self.names) == self.most:
            raise FFIError(f"a run greets at most {self.most} people; settings.greeting.most raises it")
        self.names.append(name)

    def report(self, run_id: str) -> None:
        """Say in the log how many there were."""
        _log.info("greeted %d people", len(self.names), extra={"run_id": run_id})
