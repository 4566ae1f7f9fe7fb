"""What can go wrong with making and building guests."""

from __future__ import annotations

from mixkit.errors import MixError

__all__ = ["BuildError"]


class BuildError(MixError):
    """A guest cannot be built. `output` is what the compiler printed, empty if it never ran."""

    code = "build"

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(f"{message}\n{output}" if output else message)
        self.output = output
