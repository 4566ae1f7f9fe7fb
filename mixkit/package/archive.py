"""Reading a zip that may be hostile: everything about it is checked before the first byte is unpacked.

What is accepted is one narrow, unambiguous form of zip (APPNOTE.TXT 6.3): one disk, no zip64, no comment, no
encryption, entries stored or deflated. The file is exactly a row of entries, then the central directory, then
its
end record: no gaps, no overlaps, nothing in front or behind. So two readers cannot see two different packages
in the same bytes.

    local header   PK\\3\\4 version flags method time date crc packed size name-length extra-length | name
    extra content        `packed` bytes; with flag 3 a data descriptor follows: [PK\\7\\8] crc packed size
    central header PK\\1\\2 made-by version flags … name-length extra-length comment-length disk attributes
    offset end            PK\\5\\6 disk disk entries entries central-size central-offset comment-length
"""

from __future__ import annotations

import struct
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mixkit.errors import PackageError

__all__ = ["Archive", "ArchiveLimits", "Entry", "check_path"]

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_DESCRIPTOR: Final = struct.Struct("<3I")
assert (_LOCAL.size, _CENTRAL.size, _END.size, _DESCRIPTOR.size) == (30, 46, 22, 12)

_STORED, _DEFLATED = 0, 8
_FLAG_ENCRYPTED, _FLAG_DESCRIPTOR, _FLAG_STRONG, _FLAG_UTF8, _FLAG_MASKED = 1, 8, 64, 0x800, 0x2000
_FLAGS_READ: Final = 0b110 | _FLAG_DESCRIPTOR | _FLAG_UTF8
"""Flags that we understand; bits 1 and 2 only say how hard the packer tried."""

_EXTRA_NAMES: Final = {
    0x0001: "zip64",
    0x7075: "a second name",
    0x9901: "AES encryption",
    0x0017: "encryption",
}
"""Extra fields that would change what the entry is. Others (times, owners) are passed over."""

_LINK, _FILE, _DIRECTORY = 0o12, 0o10, 0o4
"""Kinds of a Unix file mode, whose four highest bits they are; 0 where the packer knows no such modes."""

_CHUNK: Final = 256 * 1024
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
    """

    packed: int = 256 * MIB
    entries: int = 10_000
    entry: int = 256 * MIB
    total: int = 1024 * MIB
    ratio: int = 200
    ratio_from: int = MIB


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the archive. `start` is where its packed content begins."""

    name: str
    size: int
    packed: int
    crc: int
    deflated: bool
    start: int


@dataclass(frozen=True, slots=True)
class _Header:
    """A central header, with the range of the file that the entry claims."""

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


class Archive:
    """The files of a zip, by name. Made from bytes, so that nothing can change between check and use.

    Args:
        data: the whole zip.
        limits: how large it may be.

    Raises:
        PackageError: it is refused; `entry` names the entry.
    """

    __slots__ = ("_data", "entries")
    entries: Mapping[str, Entry]

    def __init__(self, data: bytes, limits: ArchiveLimits | None = None) -> None:
        limits = limits or ArchiveLimits()
        if len(data) > limits.packed:
            raise PackageError(f"a package has at most {limits.packed} bytes, found {len(data)}")
        self._data = memoryview(data)
        count, start = _end(self._data)
        if count > limits.entries:
            raise PackageError(f"a package has at most {limits.entries} entries, found {count}")
        headers = _central_headers(self._data, count, start)
        _check_sizes(headers, limits)
        _check_names(headers)
        self.entries = MappingProxyType(_tile(self._data, headers, start))

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


def _end(data: memoryview) -> tuple[int, int]:
    """Number of entries, and where the central directory starts."""
    if data[:4] not in (_MAGIC_LOCAL, _MAGIC_END):
        raise PackageError("a package is a zip and starts with 'PK'; this file does not")
    at = len(data) - _END.size
    if at < 0 or data[at : at + 4] != _MAGIC_END:
        raise PackageError(
            "the zip does not end with its end record: it is truncated, or something follows it"
        )
    _, disk, first_disk, here, count, size, start, comment = _END.unpack_from(data, at)
    if 0xFFFF in (count, here) or 0xFFFFFFFF in (size, start):
        raise PackageError("zip64 is not accepted; a package is smaller than that")
    if (disk, first_disk, here, comment) != (0, 0, count, 0):
        raise PackageError(
            "the end record of the zip speaks of several disks or of a comment; neither is accepted"
        )
    if start + size != at:
        raise PackageError(
            f"the central directory of the zip ends at {start + size}, its end record is at {at}"
        )
    return count, start


_MAGIC_LOCAL, _MAGIC_CENTRAL, _MAGIC_END, _MAGIC_DESCRIPTOR = b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\7\x08"


def _central_headers(data: memoryview, count: int, at: int) -> list[_Header]:
    end = len(data) - _END.size
    headers = []
    for index in range(count):
        if at + _CENTRAL.size > end or data[at : at + 4] != _MAGIC_CENTRAL:
            raise PackageError(
                f"the central directory of the zip is damaged at its entry {index + 1} of {count}"
            )
        fields = _CENTRAL.unpack_from(data, at)
        _, _, _, flags, method, _, _, crc, packed, size, name_size, extra_size, comment_size = fields[:13]
        disk, _, attributes, offset = fields[13:]
        at += _CENTRAL.size
        after = at + name_size + extra_size + comment_size
        if after > end:
            raise PackageError(
                f"the central directory of the zip is damaged at its entry {index + 1} of {count}"
            )
        raw_name = bytes(data[at : at + name_size])
        name = check_path(_decode_name(raw_name, flags))
        _check_method(name, flags, method, disk)
        _check_type(name, attributes, size or packed)
        _check_extra(name, bytes(data[at + name_size : at + name_size + extra_size]))
        headers.append(_Header(raw_name, name, flags, method, crc, packed, size, offset))
        at = after
    if at != end:
        raise PackageError(
            f"the central directory of the zip has {end - at} bytes behind its {count} entries"
        )
    return headers


def _decode_name(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & _FLAG_UTF8 else "ascii")
    except UnicodeDecodeError:
        raise PackageError(
            "the name of an entry is not UTF-8 (or not marked as such)", f"{raw!r:.200}"
        ) from None


def check_path(name: str) -> str:
    """The name of an entry, if it is a plain relative path. A directory's ends in a slash.

    Raises:
        PackageError: it is absolute, has `..`, a backslash, a drive, a control character, or is too long.
    """
    reason = ""
    parts = name.removesuffix("/").split("/")
    if not name or len(name.encode()) > 1024 or any(len(part.encode()) > 255 for part in parts):
        reason = "is empty or too long (1024 bytes, 255 for a part)"
    elif any(part in ("", ".", "..") for part in parts):
        reason = "is absolute, or has a part that is empty, '.' or '..'"
    elif "\\" in name or ":" in name:
        reason = "has a backslash or a colon"
    elif not name.isprintable():
        reason = "has a character that is not printable"
    elif unicodedata.normalize("NFC", name) != name:
        reason = "is not in Unicode's normal form C"
    if reason:
        raise PackageError(f"the name of the entry {reason}; nothing is unpacked", ascii(name)[1:-1][:200])
    return name


def _check_method(name: str, flags: int, method: int, disk: int) -> None:
    if flags & (_FLAG_ENCRYPTED | _FLAG_STRONG | _FLAG_MASKED):
        raise PackageError("the entry is encrypted; a package has no encrypted entries", name)
    if flags & ~_FLAGS_READ or disk:
        raise PackageError(f"the entry has unknown flags {flags:#06x} or lies on another disk", name)
    if method not in (_STORED, _DEFLATED):
        raise PackageError(
            f"expected an entry that is stored (0) or deflated (8), found method {method}", name
        )


def _check_type(name: str, attributes: int, size: int) -> None:
    kind = attributes >> 28
    expected = _DIRECTORY if name.endswith("/") else _FILE
    if kind not in (0, expected):
        what = "a link" if kind == _LINK else "not a plain file or directory"
        raise PackageError(f"the entry is {what}; a package has only files", name)
    if name.endswith("/") and size:
        raise PackageError("a directory has content", name)


def _check_extra(name: str, extra: bytes) -> None:
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind in _EXTRA_NAMES:
            raise PackageError(
                f"the entry has an extra field for {_EXTRA_NAMES[kind]}, which is not accepted", name
            )
        at += 4 + size
    if at != len(extra):
        raise PackageError("the extra fields of the entry are damaged", name)


def _check_sizes(headers: list[_Header], limits: ArchiveLimits) -> None:
    for header in headers:
        if header.size > limits.entry:
            raise PackageError(f"an entry has at most {limits.entry} bytes, found {header.size}", header.name)
        if header.size > limits.ratio_from and header.size > header.packed * limits.ratio:
            raise PackageError(
                f"{header.packed} bytes claim to unpack to {header.size}, over {limits.ratio} times as many",
                header.name,
            )
        if header.method == _STORED and header.size != header.packed:
            raise PackageError("a stored entry has two different sizes", header.name)
    total = sum(header.size for header in headers)
    if total > limits.total:
        raise PackageError(f"all entries together have at most {limits.total} bytes, found {total}")


def _check_names(headers: list[_Header]) -> None:
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


def _tile(data: memoryview, headers: list[_Header], end: int) -> dict[str, Entry]:
    """The entries, after checking that their local parts cover the file up to `end` without gap or
    overlap."""
    entries, at = {}, 0
    for header in sorted(headers, key=lambda header: header.offset):
        if header.offset != at:
            raise PackageError(
                f"expected the entry at {at}, found it at {header.offset}: gap or overlap", header.name
            )
        start = _check_local(data, header, end)
        at = start + header.packed
        if at > end:
            raise PackageError("the entry reaches into the central directory", header.name)
        if header.flags & _FLAG_DESCRIPTOR:
            at = _check_descriptor(data, header, at, end)
        if not header.name.endswith("/"):
            deflated = header.method == _DEFLATED
            entries[header.name] = Entry(header.name, header.size, header.packed, header.crc, deflated, start)
    if at != end:
        raise PackageError(f"{end - at} bytes in front of the central directory belong to no entry")
    return entries


def _check_local(data: memoryview, header: _Header, end: int) -> int:
    """Where the content starts, after checking that the local header says what the central one says."""
    if header.offset + _LOCAL.size > end or data[header.offset : header.offset + 4] != _MAGIC_LOCAL:
        raise PackageError(f"no local header at {header.offset}", header.name)
    fields = _LOCAL.unpack_from(data, header.offset)
    _, _, flags, method, _, _, crc, packed, size, name_size, extra_size = fields
    name_at = header.offset + _LOCAL.size
    start = name_at + name_size + extra_size
    if start > end:
        raise PackageError("the local header reaches into the central directory", header.name)
    expected = (header.crc, header.packed, header.size)
    same = (crc, packed, size) == expected or (flags & _FLAG_DESCRIPTOR and (crc, packed, size) == (0, 0, 0))
    if (flags, method, bytes(data[name_at : name_at + name_size])) != (
        header.flags,
        header.method,
        header.raw_name,
    ):
        same = False
    if not same:
        raise PackageError("the local header and the central directory contradict each other", header.name)
    _check_extra(header.name, bytes(data[name_at + name_size : start]))
    return start


def _check_descriptor(data: memoryview, header: _Header, at: int, end: int) -> int:
    """Where the data descriptor at `at` ends. Its magic number is optional."""
    if data[at : at + 4] == _MAGIC_DESCRIPTOR:
        at += 4
    expected = (header.crc, header.packed, header.size)
    if at + _DESCRIPTOR.size > end or _DESCRIPTOR.unpack_from(data, at) != expected:
        raise PackageError("the data descriptor and the central directory contradict each other", header.name)
    return int(at + _DESCRIPTOR.size)
