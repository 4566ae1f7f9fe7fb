"""`mixkit.toml`: what a folder says of the commands that are run in it, and in the folders below.

It is the weakest thing that is said: the command line and the environment go before. A folder may be a stranger's, so
what a file may do that was merely found is little; see docs/project.md.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mixkit.errors import ProfileError
from mixkit.near import meant
from mixkit.setting_values import is_secret
from mixkit.settings import Found, Origin

if TYPE_CHECKING:
    from pathlib import Path

    from mixkit.profile import Overlay

__all__ = ["FILE", "VARIABLE", "Project", "find_project"]

FILE: Final = "mixkit.toml"
VARIABLE: Final = "MIXKIT_PROJECT"
"""Names the file, which is then no stranger's; empty: there is none."""

_TEXTS: Final = ("profile", "workspace", "ws_dir", "server")
_KEYS: Final = (*_TEXTS, "set")
_DEPTHS: Final = {"settings": 3, "limits": 2}
"""How many names a key has that `set` gives; what is below is a value."""
_MOST: Final = 1 << 16
"""Bytes of a file."""
_NO_SECRETS: Final = "it may be read by everybody who has the folder; keep it in an environment variable"


@dataclass(frozen=True, slots=True)
class Project:
    """What a file says; nothing where there is none.

    Attributes:
        path: of the file.
        found: it was found, and nobody has named it.
        profile: name, or absolute path.
        ws_dir: absolute.
        sets: values as `--set` has them, by dotted key.
        passed_over: what to tell of files that are not read, and why.
    """

    path: str = ""
    found: bool = True
    profile: str | None = None
    workspace: str | None = None
    ws_dir: str | None = None
    server: str | None = None
    sets: Mapping[str, Any] = field(default_factory=dict)
    passed_over: tuple[str, ...] = ()

    def origin(self, key: str) -> Origin:
        """Where a key stands, for people."""
        return f"{self.path}: {key}"

    def overlays(self, *, optional: bool) -> list[Overlay]:
        """What lies over a profile.

        Args:
            optional: the profile is not the one that the file names.
        """
        from mixkit.profile import Overlay

        over = []
        if self.ws_dir is not None:
            over.append(
                Overlay(self.origin("ws_dir"), {"settings.server.ws_dir": self.ws_dir}, optional=True)
            )
        if self.sets:
            origin = self.origin("set")
            over.append(Overlay(Found(origin) if self.found else origin, self.sets, optional=optional))
        return over

    def said_of(self, message: str, used: Collection[str]) -> str:
        """What to say behind an error: which of the values that it speaks of are from the file; nothing if none is.

        Args:
            used: keys by which the command goes; what is typed may be the same as the value of another one.
        """
        values = {key: getattr(self, key) for key in _TEXTS if key in used}
        keys = [key for key, value in values.items() if value and _speaks_of(message, value)]
        # Errors of the file itself name it.
        return f" ({', '.join(keys)} from {self.path})" if keys and self.path not in message else ""


def _speaks_of(message: str, value: str) -> bool:
    import re

    return re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", message) is not None


def find_project(folder: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Project:
    """The nearest file in a folder, the current one by default, or above it; or the one that the environment names.

    A file is passed over that another user owns, or anybody may write.

    Raises:
        ProfileError: the file cannot be read, or is wrong: says where in it.
    """
    named = (os.environ if environ is None else environ).get(VARIABLE)
    if named is not None:
        return _read(os.path.abspath(named), found=False) if named else Project()  # noqa: PTH100 - as below
    try:
        place = os.path.realpath(folder) if folder is not None else os.getcwd()  # noqa: PTH109 - as below
    except OSError:
        # The current folder has been removed.
        return Project()
    passed: list[str] = []
    while True:
        # PERF: in every command, for each folder above.
        path = os.path.join(place, FILE)  # noqa: PTH118 - as above
        reason = _refused(path)
        if reason is None:
            import dataclasses

            return dataclasses.replace(_read(path, found=True), passed_over=tuple(passed))
        if reason:
            passed.append(f"{path} is passed over: {reason}; {VARIABLE}={path} uses it nevertheless")
        above = os.path.dirname(place)  # noqa: PTH120 - as above
        if above == place:
            return Project(passed_over=tuple(passed))
        place = above


def _refused(path: str) -> str | None:
    """Why a file that was found is not read; empty if there is none, None if it is."""
    try:
        # Both: a link of a stranger's would choose which of the user's own files counts here.
        for about in (os.lstat(path), os.stat(path)):  # noqa: PTH116 - as above
            if about.st_uid != os.geteuid():
                return f"it belongs to another user (uid {about.st_uid})"
    except OSError:
        return ""
    if not stat.S_ISREG(about.st_mode):
        return "it is no file"
    return "everybody may write it" if about.st_mode & stat.S_IWOTH else None


def _read(path: str, *, found: bool) -> Project:
    from mixkit.profile import parsed

    try:
        # NOTE: without waiting for whoever would write a pipe.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - a descriptor
            if found and os.fstat(file.fileno()).st_uid != os.geteuid():
                raise ProfileError("it has become another user's while it was opened", path)
            data = file.read(_MOST + 1)
    except OSError as exc:
        raise ProfileError(f"cannot be read: {exc.strerror}", path) from None
    if len(data) > _MOST:
        raise ProfileError(f"expected at most {_MOST} bytes", path)
    return _project(parsed(data, path), path, found)


def _project(raw: dict[str, Any], path: str, found: bool) -> Project:
    for key, value in raw.items():
        place = f"{path}: {key}"
        if key not in _KEYS:
            raise ProfileError(f"unknown key; {_other(key)}", place)
        if key != "set" and (not isinstance(value, str) or not value.strip()):
            raise ProfileError(f"expected a text, found {value!r:.200}", place)
        if key == "set" and not isinstance(value, dict):
            raise ProfileError(
                f'expected a table, as [set] with "limits.wall_time" = 3, found {value!r:.200}', place
            )
    from mixkit.profile import is_path

    profile, ws_dir, server = raw.get("profile"), raw.get("ws_dir"), raw.get("server")
    if profile is not None and is_path(profile):
        profile = _inside(path, "profile", profile, found)
    if ws_dir is not None:
        ws_dir = _inside(path, "ws_dir", ws_dir, found)
    if server is not None:
        _check_server(server, f"{path}: server")
    sets: dict[str, Any] = {}
    for key, value in _flat(raw.get("set", {})):
        place = f"{path}: set: {key}"
        if is_secret(key.lower().rpartition(".")[2]):
            raise ProfileError(f"a secret does not belong here: {_NO_SECRETS}", place)
        if key in sets:
            raise ProfileError(f"it is there twice, as {sets[key]!r:.200} and as {value!r:.200}", place)
        sets[key] = value
    return Project(path, found, profile, raw.get("workspace"), ws_dir, server, sets)


def _other(key: str) -> str:
    """What to say instead of a key that there is not."""
    if is_secret(key.lower()):
        return f"a secret does not belong here: {_NO_SECRETS}, as MIXKIT_SERVER_TOKEN"
    if key in _DEPTHS:
        return f'values of a profile are below [set], as "{key}.…" = …'
    return f"known are {', '.join(_KEYS)}{meant(key, _KEYS)}"


def _inside(file: str, key: str, text: str, found: bool) -> str:
    """The absolute path that a text stands for, from the file's folder."""
    folder = os.path.dirname(file)  # noqa: PTH120 - as above
    path = os.path.join(folder, text)  # noqa: PTH118 - as above
    if found:
        real, home = os.path.realpath(path), os.path.realpath(folder)
        if os.path.commonpath((real, home)) != home:
            raise ProfileError(
                f"expected a path inside of the folder of the file, which may be a stranger's, found {text!r:.200}; "
                f"{VARIABLE}={file} says that it is yours, and may go anywhere",
                f"{file}: {key}",
            )
    return os.path.normpath(path)


def _check_server(server: str, place: str) -> None:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(server)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_url = False
    if not is_url:
        raise ProfileError(f"expected a URL, as http://127.0.0.1:8000, found {server!r:.200}", place)
    if parts.username is not None or parts.password is not None:
        raise ProfileError(f"a secret does not belong here: {_NO_SECRETS}, as MIXKIT_SERVER_TOKEN", place)


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Values by dotted key, of keys that are written as "limits.wall_time" and of tables alike."""
    for name, value in table.items():
        key = f"{above}{name}"
        depth = _DEPTHS.get(key.partition(".")[0], 1)
        if isinstance(value, dict) and key.count(".") + 1 < depth:
            yield from _flat(value, f"{key}.")
        else:
            yield key, value
