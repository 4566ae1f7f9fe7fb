"""The files of a zip that may be hostile, by name: bounded before anything is unpacked, and while it is."""

from __future__ import annotations

import mmap
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mixkit.errors import PackageError
from mixkit.package.zip_headers import Entry, Header, check_tiling, directory_start, read_headers

__all__ = ["Archive", "ArchiveLimits", "lines_in"]

_CHUNK: Final = 256 * 1024
_MAX_LINE: Final = 16 * 1024 * 1024
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How large a package may be. Sizes in bytes.

    Attributes:
        packed: of the whole file.
        entries: how many there may be.
        entry: unpacked size of one entry.
        total: unpacked size of all entries together.
        ratio: unpacked to packed size of one entry; looked at above `ratio_from` bytes.
        wide: whether zip64 is accepted.
    """

    packed: int = 256 * MIB
    entries: int = 10_000
    entry: int = 256 * MIB
    total: int = 1024 * MIB
    ratio: int = 200
    ratio_from: int = MIB
    wide: bool = False


class Archive:
    """The files of a zip, by name. Made from bytes, so that nothing can change between check and use.

    Args:
        data: the whole zip; a mapping of a file that nobody else has, where that is large.
        limits: how large it may be.

    Raises:
        PackageError: it is refused; `entry` names the entry.
    """

    __slots__ = ("_data", "entries")
    entries: Mapping[str, Entry]

    def __init__(self, data: bytes | mmap.mmap, limits: ArchiveLimits | None = None) -> None:
        limits = limits or ArchiveLimits()
        if len(data) > limits.packed:
            raise PackageError(f"a package has at most {limits.packed} bytes, found {len(data)}")
        self._data = memoryview(data)
        count, start, end = directory_start(self._data, wide=limits.wide)
        if count > limits.entries:
            raise PackageError(f"a package has at most {limits.entries} entries, found {count}")
        headers = read_headers(self._data, count, start, end, wide=limits.wide)
        _check_sizes(headers, limits)
        _check_names(headers)
        self.entries = MappingProxyType(check_tiling(self._data, headers, start, wide=limits.wide))

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of an entry, piece by piece, never more of it than its header declares.

        Raises:
            PackageError: no such entry, or its content is damaged: too short, too long, or its checksum is
                wrong.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise PackageError("the package has no such entry", name)
        packed = self._data[entry.start : entry.start + entry.packed]
        crc = size = 0
        for chunk in _inflate(packed, entry) if entry.deflated else _slices(packed):
            size += len(chunk)
            if size > entry.size:
                raise PackageError(f"expected {entry.size} bytes as its header says, found more", name)
            crc = zlib.crc32(chunk, crc)
            yield chunk
        if size != entry.size:
            raise PackageError(f"expected {entry.size} bytes as its header says, found {size}", name)
        if crc != entry.crc:
            raise PackageError(f"expected the checksum {entry.crc:08x}, found {crc:08x}: it is damaged", name)

    def read(self, name: str) -> bytes:
        """The content of an entry. `PackageError` as `chunks`."""
        return b"".join(self.chunks(name))


def lines_in(chunks: Iterable[bytes], entry: str) -> Iterator[bytes]:
    """The lines of an entry's content that are not empty, without their ends. `PackageError` if one is too long."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > _MAX_LINE:
            raise PackageError(f"a line has at most {_MAX_LINE} bytes, found a longer one", entry)
        yield from filter(None, whole)
    if rest:
        yield rest


def _inflate(packed: memoryview, entry: Entry) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    fed = 0
    try:
        for piece in _slices(packed):
            fed += len(piece)
            while piece and not inflater.eof:
                yield inflater.decompress(piece, _CHUNK)
                piece = inflater.unconsumed_tail
            if inflater.eof:
                break
        # All input is taken, but zlib may hold back output that did not fit into the last chunk.
        while not inflater.eof and (chunk := inflater.decompress(b"", _CHUNK)):
            yield chunk
    except zlib.error as exc:
        raise PackageError(f"the compressed data is damaged ({exc})", entry.name) from None
    if not inflater.eof or fed - len(inflater.unused_data) != len(packed):
        found = "less" if inflater.eof else "more"
        raise PackageError(f"the compressed data needs {found} bytes than its header says", entry.name)


def _slices(packed: memoryview) -> Iterator[bytes]:
    for start in range(0, len(packed), _CHUNK):
        yield bytes(packed[start : start + _CHUNK])


def _check_sizes(headers: list[Header], limits: ArchiveLimits) -> None:
    for header in headers:
        if header.size > limits.entry:
            raise PackageError(f"an entry has at most {limits.entry} bytes, found {header.size}", header.name)
        if header.size > limits.ratio_from and header.size > header.packed * limits.ratio:
            raise PackageError(
                f"{header.packed} bytes claim to unpack to {header.size}, over {limits.ratio} times as many",
                header.name,
            )
        if header.stored and header.size != header.packed:
            raise PackageError("a stored entry has two different sizes", header.name)
    total = sum(header.size for header in headers)
    if total > limits.total:
        raise PackageError(f"all entries together have at most {limits.total} bytes, found {total}")


def _check_names(headers: list[Header]) -> None:
    """No name twice, also not where case is ignored; no file that is a directory of another."""
    seen: dict[str, str] = {}
    for header in headers:
        key = unicodedata.normalize("NFC", header.name.removesuffix("/").casefold())
        if key in seen:
            raise PackageError(
                f"the entry stands twice (as {seen[key]!r} too; case does not count)", header.name
            )
        seen[key] = header.name
    for key, name in seen.items():
        parent = key.rpartition("/")[0]
        while parent:
            if not seen.get(parent, "/").endswith("/"):
                raise PackageError(f"the entry {seen[parent]!r} is a file and a directory", name)
            parent = parent.rpartition("/")[0]
