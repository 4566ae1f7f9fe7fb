"""Mix as the kernel has it: sources in, an executable out, which is kept on disk for the next start.

A file is named after the compiler, and the name and text of a program's first source. It says what else was read then:

    offset  size
    0       4     length of what follows, little-endian
    4             JSON: names of the other sources that were asked for, to the SHA-256 of their text; null: none
    …             the executable

What was read anew is compared with that, in its order, so that nothing is read that a compilation would not read.
Imported by every start that has this plugin, so the compiler itself is imported where nothing is kept.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mix_lang.settings import LangSettings
from mixkit import distributions
from mixkit.disk_cache import DiskCache, default_directory
from mixkit.errors import NotFound

if TYPE_CHECKING:
    from mix_lang.memory import Memory

__all__ = ["MixCompiler"]

_SOURCES = (".py", ".mix")


class MixCompiler:
    """Mix to QCode.

    Attributes:
        cache: where programs are kept; None if nowhere.
        memory: what is remembered of compilations in this process, from the first one on.
    """

    name = "mix"
    suffixes = (".mix",)
    target = ".mixexe"

    def __init__(self, settings: LangSettings | None = None) -> None:
        settings = settings or LangSettings()
        self.memory: Memory | None = None
        directory = settings.cache_dir
        self.cache = (
            None
            if directory == "off"
            else DiskCache(
                Path(directory) if directory else default_directory("lang"), settings.cache_bytes, ".mixkept"
            )
        )

    def compile(self, sources: Mapping[str, str]) -> bytes:
        """The executable of the first source, with the modules of the others that it imports.

        Raises:
            CompileError: with everything that is wrong in them.
        """
        if self.cache is None:
            return self._compiled(sources)
        first = next(iter(sources))
        key = _key(first, sources[first])
        kept = self.cache.get(key)
        code = None if kept is None else _still(kept, sources)
        if code is None:
            watched = _Watched(sources)
            code = self._compiled(watched)
            needs = msgspec.json.encode(watched.asked)
            self.cache.put(key, len(needs).to_bytes(4, "little") + needs + code)
        return code

    def _compiled(self, sources: Mapping[str, str]) -> bytes:
        from mix_lang.compiler import build
        from mix_lang.memory import Memory

        if self.memory is None:
            self.memory = Memory()
        return build(sources, memory=self.memory)[0]


def _still(kept: bytes, sources: Mapping[str, str]) -> bytes | None:
    """The executable, if it is what would be compiled of these sources."""
    end = 4 + int.from_bytes(kept[:4], "little")
    try:
        needs = msgspec.json.decode(kept[4:end], type=dict[str, str | None])
    except msgspec.MsgspecError:
        return None
    for name, expected in needs.items():
        try:
            found = _digest(sources[name]) if name in sources else None
        except (KeyError, NotFound):
            # The compiler says what is wrong with it.
            return None
        if found != expected:
            return None
    return kept[end:]


def _digest(text: str) -> str:
    # Text that came as JSON may have halves of pairs.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _key(first: str, text: str) -> str:
    digest = hashlib.sha256()
    for part in (_compiler(), first, text):
        data = part.encode(errors="surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


@cache
def _compiler() -> str:
    """What this compiler differs by from all others: versions, and its files, since a checkout changes without them."""
    parts = [distributions.version("mix-lang"), distributions.version("mixkit")]
    here = Path(__file__).parent
    for folder in (here, *_folders("mix_rt"), *_folders("mixkit")):
        parts += [f"{name} {size} {changed}" for name, size, changed in sorted(_files(str(folder), ""))]
    return "\n".join(parts)


def _folders(package: str) -> list[Path]:
    """The folder of another package that the compiler stands on."""
    from importlib.util import find_spec

    spec = find_spec(package)
    return [Path(place) for place in (spec.submodule_search_locations or ())] if spec is not None else []


def _files(folder: str, above: str) -> Iterator[tuple[str, int, int]]:
    """Its source files: name, bytes, nanoseconds of the last change."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{above}{entry.name}/")
            elif entry.name.endswith(_SOURCES):
                found = entry.stat()
                yield above + entry.name, found.st_size, found.st_mtime_ns


class _Watched(Mapping[str, str]):
    """Sources that note what is asked of them, but for the first.

    Attributes:
        asked: names to the SHA-256 of the text; None where there is no such source.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources
        self._first = next(iter(sources))
        self.asked: dict[str, str | None] = {}

    def __getitem__(self, name: str) -> str:
        text = self._sources[name]
        if name != self._first:
            self.asked[name] = _digest(text)
        return text

    def __contains__(self, name: object) -> bool:
        there = name in self._sources
        if not there and isinstance(name, str):
            self.asked[name] = None
        return there

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)
