"""A bounded folder of derived files, so that other workers and the next start need not make them again.

What it holds is trusted by the process (machine code, frozen memory), so only its owner may be able to write it:
folder and files must belong to this user, and nobody else may have write permission on them. A signature would
add nothing, since whoever can write as this user can read the key as well. The checksum is against damage, not
against attack.

Layout of a file, named `<key><suffix>`:

    offset  size
    0       8     "MIXDISK1"
    8       32    SHA-256 of everything after it
    40            the content
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
from pathlib import Path
from typing import Final

from mixkit.errors import MixError
from mixkit.whole_file import STAGED, whole_file

__all__ = ["CacheError", "DiskCache", "default_directory"]

_MAGIC: Final = b"MIXDISK1"
_HEADER: Final = 40

_log = logging.getLogger("mixkit.cache")


class CacheError(MixError):
    """A cache folder that cannot be used safely; says whose it is and what to do."""

    code = "cache"


def default_directory(name: str) -> Path:
    """`mixkit/<name>` under `XDG_CACHE_HOME`, or under `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "mixkit" / name


class DiskCache:
    """Trouble with it costs time and never a run: it is logged once, and nothing is kept.

    Args:
        directory: made on first use, with mode 0700.
        limit: bytes that its files may have together; the least recently used are removed first.
        suffix: of the files' names, one per kind of content and version of its format.
    """

    def __init__(self, directory: Path, limit: int, suffix: str) -> None:
        self.directory = directory
        self.limit = limit
        self._suffix = suffix
        self._warned = False

    def check(self) -> None:
        """Make the directory if it is missing.

        Raises:
            CacheError: it is not ours, or others may write to it.
            OSError: it cannot be made or looked at.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(self.directory.stat(), self.directory)

    def get(self, key: str) -> bytes | None:
        """The content, or None. A damaged file is removed."""
        path = self._path(key)
        try:
            # The directory first: in one that others can write, a file proves nothing.
            _refuse_foreign(self.directory.stat(), self.directory)
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
                _refuse_foreign(os.fstat(file.fileno()), path)
                # PERF: apart, because to cut it off would copy all of it.
                header, content = file.read(_HEADER), file.read()
        except FileNotFoundError:
            return None
        except (OSError, CacheError) as exc:
            self._warn(exc)
            return None
        if header != _MAGIC + hashlib.sha256(content).digest():
            _log.warning("discarding a damaged file: %s", path)
            self.discard(key)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return content

    def put(self, key: str, content: bytes | bytearray) -> None:
        """Keep the content, in one step for whoever reads at the same time."""
        if len(content) + _HEADER > self.limit:
            return
        try:
            self.check()
            with whole_file(self._path(key), private=True, durable=False) as file:
                file.write(_MAGIC + hashlib.sha256(content).digest())
                file.write(content)
            self._trim()
        except (OSError, CacheError) as exc:
            self._warn(exc)

    def discard(self, key: str) -> None:
        """Forget one entry."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self.directory / (key + self._suffix)

    def _trim(self) -> None:
        entries = []
        for entry in os.scandir(self.directory):
            # Another worker may remove it between the two calls. Files of killed writers age like the rest.
            with contextlib.suppress(FileNotFoundError):
                if entry.name.endswith((self._suffix, STAGED)):
                    found = entry.stat(follow_symlinks=False)
                    entries.append((found.st_mtime_ns, found.st_size, entry.path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.limit:
                return
            with contextlib.suppress(FileNotFoundError):
                Path(path).unlink()
            total -= size

    def _warn(self, exc: Exception) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("the cache in %s is not used: %s", self.directory, exc)


def _refuse_foreign(found: os.stat_result, path: Path) -> None:
    if found.st_uid != os.geteuid():
        raise CacheError(
            f"{path} belongs to user {found.st_uid}, expected {os.geteuid()}; choose another folder"
        )
    if stat.S_IMODE(found.st_mode) & 0o022:
        mode = stat.S_IMODE(found.st_mode)
        raise CacheError(f"{path} can be written by others (mode {mode:o}, expected 700): chmod go-w {path}")
