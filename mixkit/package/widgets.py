"""Widgets that an app offers: which agent draws it, at which sizes, with which database."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

import msgspec

from mixkit.near import meant
from mixkit.package.names import is_name

__all__ = ["SIZES", "WidgetSpec", "faults"]

SIZES: Final = ("small", "medium", "large", "extraLarge")
"""Sizes by name. Others are told in cells, as `4x2`."""

_CELLS = re.compile(r"[1-9][0-9]?x[1-9][0-9]?")
_MOST: Final = 32
_MAX_TAG: Final = 63


class WidgetSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A widget.

    Attributes:
        agent: of the same app, that draws it; the one of the widget's name if that is None.
        sizes: at which it can be drawn, `SIZES` or cells (columns, rows); the first is what it is shown at first.
        database: which the agent has, by name; that of the app if None.
        tags: by which people find it.
    """

    agent: str | None = None
    description: str = ""
    sizes: list[str]
    database: str | None = None
    tags: list[str] = []


def faults(name: str, widget: WidgetSpec, agents: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with a widget: the key, with a dot before it, and the message.

    Args:
        agents: those of its app.
    """
    agent = name if widget.agent is None else widget.agent
    if agent not in agents:
        there = ", ".join(agents)[:400] or "none"
        yield ".agent", f"expected an agent of the app ({there}), found {agent!r:.80}{meant(agent, agents)}"
    if widget.database is not None and not is_name(widget.database):
        yield (
            ".database",
            f"expected 1 to 63 letters, digits, '_' and '-' (ASCII, no '-' first), found {widget.database!r:.80}",
        )
    if not 1 <= len(widget.sizes) <= _MOST:
        yield ".sizes", f"expected 1 to {_MOST} sizes, found {len(widget.sizes)}"
    for index, size in enumerate(widget.sizes):
        if size not in SIZES and not _CELLS.fullmatch(size):
            yield (
                f".sizes[{index}]",
                f"expected {', '.join(SIZES)}, or cells as 4x2, found {size!r:.80}{meant(size, SIZES)}",
            )
    if len(widget.tags) > _MOST:
        yield ".tags", f"expected at most {_MOST} tags, found {len(widget.tags)}"
    for index, tag in enumerate(widget.tags):
        if not (0 < len(tag) <= _MAX_TAG and tag.isprintable()):
            yield f".tags[{index}]", f"expected 1 to {_MAX_TAG} printable characters, found {tag!r:.80}"
    for key, items in ((".sizes", widget.sizes), (".tags", widget.tags)):
        if len(set(items)) < len(items):
            twice = next(item for index, item in enumerate(items) if item in items[:index])
            yield key, f"expected each once, found {twice!r:.80} twice"
