"""Compiled code on disk, so that other workers and the next start need not compile.

A file holds machine code that the process will run, so only its owner may be able to write it: the directory
and the file must belong to this user, and nobody else may have write permission on them. A signature would
add nothing, since whoever can write as this user can read the key as well. The checksum is against damage,
not against attack.

Layout of a file, named `<key>.cwasm`:

    offset  size
    0       8     "MIXWTC1\\n"
    8       32    SHA-256 of everything after it
    40      1     1 if the module's state can be restored, else 0
    41            what `wasmtime_module_serialize` wrote
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from mixkit.errors import EngineError

__all__ = ["CodeCache", "default_directory"]

_MAGIC: Final = b"MIXWTC1\n"
_HEADER: Final = 41
_SUFFIX: Final = ".cwasm"

log = logging.getLogger("mixkit.wasmtime")


def default_directory() -> Path:
    """`mixkit/wasmtime` under `XDG_CACHE_HOME`, or under `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "mixkit" / "wasmtime"


class CodeCache:
    """A bounded directory of compiled modules. Trouble with it costs time and never a run.

    Args:
        directory: made on first use, with mode 0700.
        limit: bytes that its files may have together; the least recently used are removed first.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        self.directory = directory
        self.limit = limit
        self._warned = False

    def check(self) -> None:
        """Make the directory if it is missing.

        Raises:
            EngineError: it cannot be made, is not ours, or others may write to it.
            OSError: it cannot be made or looked at.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(self.directory.stat(), self.directory)

    def get(self, key: str) -> tuple[bytes, bool] | None:
        """Serialized code and whether its state can be restored, or None. A damaged file is removed."""
        path = self.directory / (key + _SUFFIX)
        try:
            # The directory first: in one that others can write, a file proves nothing.
            _refuse_foreign(self.directory.stat(), self.directory)
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
                _refuse_foreign(os.fstat(file.fileno()), path)
                data = file.read()
        except FileNotFoundError:
            return None
        except (OSError, EngineError) as exc:
            self._warn(exc)
            return None
        if data[:8] != _MAGIC or len(data) < _HEADER or hashlib.sha256(data[40:]).digest() != data[8:40]:
            log.warning("discarding a damaged file of compiled code: %s", path)
            self.discard(key)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return data[_HEADER:], data[40] == 1

    def put(self, key: str, code: bytes | bytearray, restorable: bool) -> None:
        """Keep the code, in one step for whoever reads at the same time."""
        body = bytes([restorable]) + code
        if len(body) + 40 > self.limit:
            return
        temporary = None
        try:
            self.check()
            descriptor, temporary = tempfile.mkstemp(dir=self.directory, suffix=".tmp")
            with open(descriptor, "wb") as file:  # noqa: PTH123
                file.write(_MAGIC + hashlib.sha256(body).digest())
                file.write(body)
            Path(temporary).rename(self.directory / (key + _SUFFIX))
            temporary = None
            self._trim()
        except (OSError, EngineError) as exc:
            self._warn(exc)
        finally:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()

    def discard(self, key: str) -> None:
        """Forget one entry."""
        with contextlib.suppress(OSError):
            (self.directory / (key + _SUFFIX)).unlink()

    def _trim(self) -> None:
        entries = []
        for entry in os.scandir(self.directory):
            # Another worker may remove it between the two calls. Files of killed writers age like the rest.
            with contextlib.suppress(FileNotFoundError):
                if entry.name.endswith((_SUFFIX, ".tmp")):
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
            log.warning("the cache of compiled code is not used: %s", exc)


def _refuse_foreign(found: os.stat_result, path: Path) -> None:
    if found.st_uid != os.geteuid():
        raise EngineError(
            f"{path} belongs to user {found.st_uid}, expected {os.geteuid()}; set another cache_dir"
        )
    if stat.S_IMODE(found.st_mode) & 0o022:
        mode = stat.S_IMODE(found.st_mode)
        raise EngineError(f"{path} can be written by others (mode {mode:o}, expected 700): chmod go-w {path}")
