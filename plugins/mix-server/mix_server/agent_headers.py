"""The headers of a request as an agent sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

__all__ = ["AgentHeaders"]

_SECRET: Final = frozenset({b"authorization", b"proxy-authorization", b"cookie"})
"""Headers that an agent does not see: they are the caller's word to the server."""

_INGRESS: Final = b"sf-context-"
"""Nor those of Snowflake's ingress: one is the caller's token, and `env.user` says who asks."""

_CODING: Final = frozenset({b"content-encoding", b"content-length"})
"""Headers that are not true of a body that was decompressed."""


class AgentHeaders(Mapping[str, str]):
    """Names and texts, decoded when somebody reads them.

    Args:
        raw: as ASGI has them.
        decompressed: whether the body is no more in the coding in which it came.
    """

    __slots__ = ("_decompressed", "_made", "_raw")

    def __init__(self, raw: list[tuple[bytes, bytes]], *, decompressed: bool) -> None:
        self._raw = raw
        self._decompressed = decompressed
        self._made: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._made is None:
            hidden = _SECRET | _CODING if self._decompressed else _SECRET
            self._made = {
                name.decode("latin-1"): text.decode("latin-1")
                for name, text in self._raw
                if name not in hidden and not name.startswith(_INGRESS)
            }
        return self._made

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())
