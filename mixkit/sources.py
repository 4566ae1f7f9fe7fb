"""The sources of a program: a file, and those beside it that a compiler may ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from mixkit.errors import NotFound
from mixkit.near import meant_file

__all__ = ["Sources"]


class Sources(Mapping[str, str]):
    """Names of files to their text: that of the path first, then those of its folder that end alike.

    A file is read when it is asked for. `NotFound` says of a file why it cannot be read.

    Attributes:
        path: of the first, for compilers that read files themselves.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder, self._first = path.parent, path.name
        self._suffix = path.suffix
        self._read: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._read:
            path = self._folder / name
            if name != path.name or (name != self._first and not path.is_file()):
                raise KeyError(name)
            try:
                self._read[name] = path.read_text(encoding="utf-8")
            except OSError as exc:
                raise NotFound(f"cannot read {name!r}: {exc.strerror}{meant_file(path)}") from None
            except UnicodeDecodeError as exc:
                raise NotFound(f"{name!r} is no UTF-8, at byte {exc.start}") from None
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name == self._first or self._is_there(name))

    def _is_there(self, name: str) -> bool:
        return name.endswith(self._suffix) and "/" not in name and (self._folder / name).is_file()

    def __iter__(self) -> Iterator[str]:
        yield self._first
        yield from sorted(
            path.name for path in self._folder.glob(f"*{self._suffix}") if path.name != self._first
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)
