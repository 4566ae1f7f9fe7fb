"""The headers of a zip that may be hostile: read, and compared with each other, before anything is unpacked.

What is accepted is one narrow, unambiguous form of zip (APPNOTE.TXT 6.3): one disk, no zip64 (unless it is asked for,
see `zip64.py`), no comment, no encryption, entries stored or deflated. The file is exactly a row of entries, then the
central directory, then its end record: no gaps, no overlaps, nothing in front or behind. So two readers cannot see two
different packages in the same bytes. All numbers are little-endian.

    local    PK\\3\\4 version flags method time date crc packed size name-length extra-length, name, extra
    content  `packed` bytes; with flag 8 a data descriptor follows: [PK\\7\\8] crc packed size
    central  PK\\1\\2 made-by version flags method time date crc packed size name-length extra-length
             comment-length disk internal-attributes attributes offset-of-local, name, extra, comment
    end      PK\\5\\6 disk first-disk entries-here entries central-size central-offset comment-length
"""

from __future__ import annotations

import struct
import unicodedata
from dataclasses import dataclass
from typing import Final

from mixkit.errors import PackageError
from mixkit.package import zip64

__all__ = ["Entry", "Header", "check_path", "check_tiling", "directory_start", "read_headers"]

_MAGIC_LOCAL, _MAGIC_CENTRAL, _MAGIC_END, _MAGIC_DESCRIPTOR = b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\7\x08"
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_DESCRIPTOR: Final = struct.Struct("<3I")
_WIDE_DESCRIPTOR: Final = struct.Struct("<I2Q")
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
class Header:
    """What the central directory says of an entry. `offset` is where its local header begins."""

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int

    @property
    def stored(self) -> bool:
        """Whether the content is not compressed."""
        return self.method == _STORED


def directory_start(data: memoryview, *, wide: bool = False) -> tuple[int, int, int]:
    """Number of entries, where the central directory starts, and where it ends.

    Args:
        wide: zip64 is accepted.
    """
    if data[:4] not in (_MAGIC_LOCAL, _MAGIC_END):
        raise PackageError("a package is a zip and starts with 'PK'; this file does not")
    at = len(data) - _END.size
    if at < 0 or data[at : at + 4] != _MAGIC_END:
        raise PackageError(
            "the zip does not end with its end record: it is truncated, or something follows it"
        )
    _, disk, first_disk, here, count, size, start, comment = _END.unpack_from(data, at)
    if (found := zip64.end_before(data, at) if wide else None) is not None:
        *wider, at = found
        fields = zip((count, size, start), wider, (0xFFFF, zip64.FULL, zip64.FULL), strict=True)
        if comment or disk or first_disk or here != count or any(a not in (b, full) for a, b, full in fields):
            raise PackageError("the end record of the zip and that of zip64 contradict each other")
        count, size, start = wider
        here = count
    elif 0xFFFF in (count, here) or zip64.FULL in (size, start):
        raise PackageError("zip64 is not accepted; a package is smaller than that")
    if (disk, first_disk, here, comment) != (0, 0, count, 0):
        raise PackageError(
            "the end record of the zip speaks of several disks or of a comment; neither is accepted"
        )
    if start + size != at:
        raise PackageError(
            f"the central directory of the zip ends at {start + size}, its end record is at {at}"
        )
    return count, start, at


def read_headers(data: memoryview, count: int, at: int, end: int, *, wide: bool = False) -> list[Header]:
    """The central directory: `count` headers from `at` to `end`, each checked for itself."""
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
        extra = bytes(data[at + name_size : at + name_size + extra_size])
        if wide:
            full = (size == zip64.FULL, packed == zip64.FULL, offset == zip64.FULL)
            given = zip64.numbers_for(extra, full, name)
            size, packed, offset = (
                old if new is None else new for old, new in zip((size, packed, offset), given, strict=True)
            )
            extra = zip64.without(extra)
        _check_extra(name, extra)
        headers.append(Header(raw_name, name, flags, method, crc, packed, size, offset))
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


def check_tiling(
    data: memoryview, headers: list[Header], end: int, *, wide: bool = False
) -> dict[str, Entry]:
    """The entries, after checking that their local parts cover the file up to `end`: no gap, no overlap."""
    entries, at = {}, 0
    for header in sorted(headers, key=lambda header: header.offset):
        if header.offset != at:
            raise PackageError(
                f"expected the entry at {at}, found it at {header.offset}: gap or overlap", header.name
            )
        start, is_wide = _check_local(data, header, end, wide)
        at = start + header.packed
        if at > end:
            raise PackageError("the entry reaches into the central directory", header.name)
        if header.flags & _FLAG_DESCRIPTOR:
            at = _check_descriptor(data, header, at, end, _WIDE_DESCRIPTOR if is_wide else _DESCRIPTOR)
        if not header.name.endswith("/"):
            entries[header.name] = Entry(
                header.name, header.size, header.packed, header.crc, not header.stored, start
            )
    if at != end:
        raise PackageError(f"{end - at} bytes in front of the central directory belong to no entry")
    return entries


def _check_local(data: memoryview, header: Header, end: int, wide: bool) -> tuple[int, bool]:
    """Where the content starts, after checking that the local header says what the central one says; and whether it
    has the numbers of zip64."""
    if header.offset + _LOCAL.size > end or data[header.offset : header.offset + 4] != _MAGIC_LOCAL:
        raise PackageError(f"no local header at {header.offset}", header.name)
    fields = _LOCAL.unpack_from(data, header.offset)
    _, _, flags, method, _, _, crc, packed, size, name_size, extra_size = fields
    name_at = header.offset + _LOCAL.size
    start: int = name_at + name_size + extra_size
    if start > end:
        raise PackageError("the local header reaches into the central directory", header.name)
    extra = bytes(data[name_at + name_size : start])
    is_wide = wide and packed == size == zip64.FULL
    if is_wide:
        size, packed = (number or 0 for number in zip64.numbers_for(extra, (True, True), header.name))
        extra = zip64.without(extra)
    expected = (header.crc, header.packed, header.size)
    same = (crc, packed, size) == expected or (flags & _FLAG_DESCRIPTOR and (crc, packed, size) == (0, 0, 0))
    raw_name = bytes(data[name_at : name_at + name_size])
    if not same or (flags, method, raw_name) != (header.flags, header.method, header.raw_name):
        raise PackageError("the local header and the central directory contradict each other", header.name)
    _check_extra(header.name, extra)
    return start, is_wide


def _check_descriptor(data: memoryview, header: Header, at: int, end: int, form: struct.Struct) -> int:
    """Where the data descriptor at `at` ends. Its magic number is optional."""
    if data[at : at + 4] == _MAGIC_DESCRIPTOR:
        at += 4
    expected = (header.crc, header.packed, header.size)
    if at + form.size > end or form.unpack_from(data, at) != expected:
        raise PackageError("the data descriptor and the central directory contradict each other", header.name)
    return at + form.size
