"""What is installed: the plugins, by their entry points in the group `mixkit`, and versions.

Both are read where installers write them: in the files of a distribution's metadata (PyPA's specifications "Recording
installed projects" and "Entry points"). `importlib.metadata` reads them as well, but its import takes longer than all
else that a short command does, so it is asked only for what is in no folder.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mixkit.errors import NotFound

if TYPE_CHECKING:
    import importlib.metadata

__all__ = ["GROUP", "EntryPoint", "installed", "version"]

GROUP: Final = "mixkit"
"""Entry-point group: the name is the plugin's name in profiles, the value its module."""

_METADATA: Final = (".dist-info", ".egg-info")
_unreadable: set[str] = set()


class EntryPoint(NamedTuple):
    """What names a plugin: its module, and the distribution that brings it."""

    name: str
    value: str
    distribution: str
    version: str

    def load(self) -> Any:
        """The module, or what the value names in it."""
        import importlib

        module, _, path = self.value.partition("[")[0].partition(":")
        found: Any = importlib.import_module(module.strip())
        for part in filter(None, path.strip().split(".")):
            found = getattr(found, part)
        return found


def installed() -> dict[str, list[EntryPoint]]:
    """Entry points of all installed plugins by name; more than one if several bring that name. Nothing is imported.

    A distribution whose entry points cannot be read is passed over, with a warning that names it.
    """
    found: dict[str, list[EntryPoint]] = {}
    seen: set[str] = set()
    for place, read in _distributions():
        # One by one: a malformed line of any package must not take all plugins away.
        try:
            values = _values(read("entry_points.txt"))
            if not values:
                continue
            metadata = read("METADATA") or read("PKG-INFO")
            name, version = _field(metadata, "Name"), _field(metadata, "Version")
        except Exception as exc:
            _warn(place, exc)
            continue
        # The same distribution further down the path is hidden by the first, as its modules are.
        if _normal(name) not in seen:
            seen.add(_normal(name))
            for point, value in values.items():
                found.setdefault(point, []).append(EntryPoint(point, value, name, version))
    return found


def version(name: str) -> str:
    """The version of an installed distribution.

    Raises:
        NotFound: there is none of that name.
    """
    wanted = _normal(name)
    for place, read in _distributions():
        # PERF: the name of the folder begins with it; only that one is read.
        if place.endswith(_METADATA) and not _normal(os.path.basename(place)).startswith(wanted):  # noqa: PTH119 - as below
            continue
        metadata = read("METADATA") or read("PKG-INFO")
        if metadata and _normal(_field(metadata, "Name")) == wanted:
            return _field(metadata, "Version")
    raise NotFound(f"expected the distribution {name!r} to be installed, found none of that name")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _distributions() -> Iterator[tuple[str, Callable[[str], bytes]]]:
    """All that is installed, in the order of the path: where it is, and what reads a file of its metadata; empty if it
    has none of that name."""
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - in every command, over all that is installed
        except OSError:
            continue
        for name in names:
            if name.endswith(_METADATA):
                place = os.path.join(folder, name)  # noqa: PTH118 - as above
                yield place, partial(_content, place)
    for distribution in _elsewhere():
        yield str(distribution), partial(_text, distribution)


def _content(place: str, name: str) -> bytes:
    try:
        with open(f"{place}/{name}", "rb") as file:  # noqa: PTH123 - as above
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        # An .egg-info may be a file.
        return b""


def _text(distribution: importlib.metadata.Distribution, name: str) -> bytes:
    return (distribution.read_text(name) or "").encode()


def _elsewhere() -> Iterator[importlib.metadata.Distribution]:
    """Distributions in archives of the path, and those that other importers know."""
    archives = [place for place in sys.path if os.path.isfile(place)]  # noqa: PTH113 - as above
    finders: list[Any] = [
        finder
        for finder in sys.meta_path
        if finder is not PathFinder and hasattr(finder, "find_distributions")
    ]
    if archives:
        finders.append(PathFinder)
    if finders:
        from importlib.metadata import DistributionFinder

        for finder in finders:
            yield from finder.find_distributions(DistributionFinder.Context(path=archives))


def _values(points: bytes) -> dict[str, str]:
    """The names and values of our group. ValueError for a line in it that is none."""
    found: dict[str, str] = {}
    if GROUP.encode() not in points:
        return found
    group = ""
    for line in points.decode().splitlines():
        line = line.strip()
        if line.startswith("["):
            group = line.strip("[]").strip()
        elif group == GROUP and line and not line.startswith(("#", ";")):
            name, equals, value = (part.strip() for part in line.partition("="))
            if not (name and equals and value):
                raise ValueError(f"expected NAME = MODULE, found {line!r:.80}")
            found[name] = value
    return found


def _field(metadata: bytes, name: str) -> str:
    """A field of the head of the metadata; the README stands behind it."""
    found = re.search(rf"^{name}:[ \t]*(\S+)".encode(), metadata, re.MULTILINE)
    if found is None:
        raise ValueError(f"its metadata has no {name}")
    return found[1].decode()


def _warn(place: str, exc: Exception) -> None:
    import logging  # `mixkit --help` comes past here, and is fast without it.

    if place not in _unreadable:
        _unreadable.add(place)
        reason = f"{type(exc).__name__}: {exc}"
        logging.getLogger("mixkit.plugins").warning(
            "the entry points of %s cannot be read, it is passed over: %s", place, reason
        )
