"""Short topics: what stands for a topic of an app, of a user or of a workspace, whoever names it.

`$app/room`, said in the app `notes` of the workspace `w`, is `mixkit/app/w/notes/room` on the bus. Agents name topics
so, and so do the clients of a server; all below the first level, the prefix, is named only so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import quote

from mixkit.bus import Bus, check_filter, check_topic, overlap
from mixkit.errors import FFIError

__all__ = ["PREFIX", "SHORT", "Carrier", "Names", "Topic", "check_short", "expanded"]

PREFIX: Final = "mixkit"
"""The first level, where nothing else is set."""


class Carrier(NamedTuple):
    """Where the messages of agents go, as a plugin says it (`mix_topics`).

    Attributes:
        prefix: the first level of what short topics stand for.
        broker: makes a bus beyond this server, if they go to one; on the event loop on which it is used.
    """

    prefix: str = PREFIX
    broker: Callable[[], Bus] | None = None


class Names(NamedTuple):
    """Who names a topic, and where."""

    workspace: str | None = None
    app: str | None = None
    user: str | None = None


SHORT: Final = {
    "$app": ("workspace", "app"),
    "$user": ("workspace", "user"),
    "$workspace": ("workspace",),
    "$cloudAppUser": ("workspace", "app", "user"),
    "$cloudAppShared": ("workspace", "app"),
    "$cloudAppPublic": ("workspace", "app"),
}
"""What of `Names` stands between the name and the rest of a short topic."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic or filter as the bus has it, and how its beginning was written."""

    full: str
    written: str = ""
    begin: str = ""

    def shown(self, topic: str) -> str:
        """A topic of the bus as it would be written."""
        return self.written + topic.removeprefix(self.begin)


def check_short(text: str) -> str:
    """The name with which a topic that begins with `$` begins. `FFIError` if there is no such name."""
    name = text.split("/", 1)[0]
    if name not in SHORT:
        raise FFIError(f"{text!r:.100}: expected one of {', '.join(SHORT)}, found {name!r:.40}")
    return name


def expanded(text: str, names: Names, prefix: str, *, filter: bool = False) -> Topic:
    """The topic, or filter, that somebody means.

    Args:
        names: what short ones stand for.
        prefix: the first level of what they stand for.

    Raises:
        FFIError: it cannot be, or names what is below the prefix.
    """
    (check_filter if filter else check_topic)(text)
    what = "filter" if filter else "topic"
    if text.startswith("/") or "//" in text:
        raise FFIError(f"{what} {text!r:.100}: expected no slash at the beginning and no two in a row")
    if not text.startswith("$"):
        if overlap(text, f"{prefix}/#"):
            raise FFIError(
                f"{what} {text!r:.100}: topics below {prefix!r} are the host's; name another first level, "
                f"or reach yours as {', '.join(f'{name}/…' for name in SHORT)}"
            )
        return Topic(text)
    try:
        name = check_short(text)
    except FFIError as exc:
        raise FFIError(f"{what} {exc}") from None
    rest = text.removeprefix(name)[1:]
    if not rest or "+" in rest or "#" in rest:
        raise FFIError(f"{what} {text!r:.100}: expected {name}/name, without + and #")
    levels = [prefix, name[1:]]
    for part in SHORT[name]:
        value: str | None = getattr(names, part)
        if not value:
            raise FFIError(f"{what} {text!r:.100}: there is no {part} here, which {name} stands for")
        # As one level, whatever it is called: no slash, no wildcard, and no two names alike.
        levels.append(quote(value, safe="@ "))
    begin = "/".join(levels) + "/"
    full = begin + rest
    (check_filter if filter else check_topic)(full)
    return Topic(full, f"{name}/", begin)
