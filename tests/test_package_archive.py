"""Hostile zips: each is refused, with the name of the entry, before anything is unpacked."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from mixkit.errors import PackageError
from mixkit.package.archive import Archive, ArchiveLimits
from mixkit.package.build import pack
from mixkit.package.zip_headers import check_path

LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
SMALL = ArchiveLimits(packed=100_000, entries=10, entry=50_000, total=80_000, ratio=20, ratio_from=1_000)


def packed(entries: Mapping[str, bytes]) -> bytes:
    return pack({name: partial(bytes, data) for name, data in entries.items()})


def zipped(name: str = "a", data: bytes = b"hello", **attributes: int) -> bytes:
    """A zip of one stored entry, of whatever name, with attributes of its ZipInfo set."""
    out = io.BytesIO()
    info = zipfile.ZipInfo("placeholder")
    # The constructor would make some of these names harmless.
    info.filename = name
    for key, value in attributes.items():
        setattr(info, key, value)
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, data)
    return out.getvalue()


def patched(data: bytes, magic: bytes, offset: int, form: str, value: int) -> bytes:
    """The zip with one field of the last header of that kind replaced."""
    at = data.rindex(magic) + offset
    raw = struct.pack(form, value)
    return data[:at] + raw + data[at + len(raw) :]


def refused(data: bytes, match: str, limits: ArchiveLimits | None = None) -> PackageError:
    with pytest.raises(PackageError, match=match) as caught:
        archive = Archive(data, limits)
        for name in archive.entries:
            archive.read(name)
    return caught.value


def test_what_was_packed_is_read() -> None:
    content = {
        "manifest.json": b"{}",
        "code/a/x": random.Random(1).randbytes(1_000_000),
        "ä/ü.txt": b"",
        "z": b"z",
    }
    archive = Archive(packed(content))
    assert {name: archive.read(name) for name in archive.entries} == content
    with pytest.raises(PackageError, match="no such entry"):
        archive.read("other")


def test_other_packers(tmp_path: Path) -> None:
    """The zip of Info-ZIP, with directories and times, and one that was streamed, with data descriptors."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "x").write_bytes(b"x" * 1000)

    class Stream(io.RawIOBase):
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, chunk: object) -> int:
            self.data += bytes(chunk)  # type: ignore[call-overload]
            return len(bytes(chunk))  # type: ignore[call-overload]

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("code/x", b"x" * 1000)
        archive.writestr("y", b"")
    assert b"PK\7\x08" in stream.data
    assert Archive(stream.data).read("code/x") == b"x" * 1000
    try:
        subprocess.run(["zip", "-qr", "out.zip", "code"], cwd=tmp_path, check=True, timeout=30)
    except FileNotFoundError:
        pytest.skip("no zip on this machine")
    found = Archive((tmp_path / "out.zip").read_bytes())
    assert list(found.entries) == ["code/x"]
    assert found.read("code/x") == b"x" * 1000


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "//x", "/", "", "..", "../x", "a/..", "a/../../x", "a/./b", "a//b", "a\\b", "C:x"),
        *("a\0b", "a\nb", "a\x1b[31m", "\u202egnp.a", "e\u0301", "x" * 256, "a/" * 600 + "a"),
    ],
)
def test_names_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(PackageError, match="the name of the entry"):
        check_path(name)
    raw = name.encode()
    base = zipped("n" * len(raw)) if raw else zipped("n")
    if raw and len(raw) < 60_000:
        utf8 = base.replace(b"n" * len(raw), raw)
        utf8 = patched(patched(utf8, CENTRAL, 8, "<H", 0x800), LOCAL, 6, "<H", 0x800)
        refused(utf8, "the name of the entry")


def test_names_must_be_marked_as_unicode() -> None:
    data = zipped("nn").replace(b"nn", "ü".encode())
    refused(data, "not UTF-8")
    data = patched(patched(zipped("n"), CENTRAL, 8, "<H", 0x800), LOCAL, 6, "<H", 0x800).replace(
        b"n", b"\xff"
    )
    refused(data, "not UTF-8")


def two(first: str, second: str) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr(first, b"1")
            archive.writestr(second, b"2")
    return out.getvalue()


@pytest.mark.parametrize(
    ("first", "second", "match"),
    [
        ("a", "a", "twice"),
        ("a", "A", "twice"),
        ("straße", "STRASSE", "twice"),
        ("a/", "a", "twice"),
        ("a", "a/b", "a file and a directory"),
        ("a/b/c", "a/b", "a file and a directory"),
        ("A", "a/b/c", "a file and a directory"),
    ],
)
def test_names_that_collide(first: str, second: str, match: str) -> None:
    refused(two(first, second) if not first.endswith("/") else _with_directory(first, second), match)


def _with_directory(directory: str, file: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(directory, b"")
        archive.writestr(file, b"2")
    return out.getvalue()


@pytest.mark.parametrize(
    ("mode", "name"),
    [(0o120777, "a"), (0o060600, "a"), (0o010600, "a"), (0o040755, "a"), (0o100644, "a/"), (0o140600, "a")],
)
def test_only_files(mode: int, name: str) -> None:
    error = refused(zipped(name, b"", external_attr=mode << 16, create_system=3), "only files")
    assert error.entry == name


def test_a_directory_with_content() -> None:
    refused(zipped("a/"), "a directory has content")


@pytest.mark.parametrize("method", [1, 9, 12, 14, 93, 99])
def test_methods(method: int) -> None:
    data = patched(zipped(), CENTRAL, 10, "<H", method)
    assert refused(patched(data, LOCAL, 8, "<H", method), f"found method {method}").entry == "a"


@pytest.mark.parametrize("flag", [1, 1 << 6, 1 << 13, 1 << 5, 1 << 15])
def test_flags(flag: int) -> None:
    data = patched(zipped(), CENTRAL, 8, "<H", flag)
    refused(patched(data, LOCAL, 6, "<H", flag), "encrypted|unknown flags")


@pytest.mark.parametrize("kind", [0x0001, 0x7075, 0x9901])
def test_extra_fields_that_change_the_entry(kind: int) -> None:
    extra = struct.pack("<HH", kind, 8) + bytes(8)
    out = io.BytesIO()
    info = zipfile.ZipInfo("a")
    info.extra = extra
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, b"hello")
    refused(out.getvalue(), "extra field")
    info.extra = struct.pack("<HH", 0x5455, 9) + bytes(8)
    with zipfile.ZipFile(out := io.BytesIO(), "w") as archive:
        archive.writestr(info, b"hello")
    refused(out.getvalue(), "extra fields of the entry are damaged")


@pytest.mark.parametrize("where", [CENTRAL, LOCAL])
def test_extra_fields_in_one_of_the_headers(where: bytes) -> None:
    info = zipfile.ZipInfo("a")
    info.extra = b"UT" + struct.pack("<H", 5) + bytes(5)
    with zipfile.ZipFile(out := io.BytesIO(), "w") as archive:
        archive.writestr(info, b"hello")
    data = out.getvalue()
    assert Archive(data).read("a") == b"hello"
    at = data.index(b"UT", data.index(where))
    refused(data[:at] + struct.pack("<H", 0x7075) + data[at + 2 :], "extra field for a second name")


FIELDS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("crc", lambda data: patched(data, LOCAL, 14, "<I", 1)),
    ("packed", lambda data: patched(data, LOCAL, 18, "<I", 1)),
    ("size", lambda data: patched(data, LOCAL, 22, "<I", 1)),
    ("name", lambda data: data.replace(b"a", b"b", 1)),
    ("method", lambda data: patched(data, LOCAL, 8, "<H", 8)),
    ("flags", lambda data: patched(data, LOCAL, 6, "<H", 0x800)),
]


@pytest.mark.parametrize(("field", "change"), FIELDS, ids=[name for name, _ in FIELDS])
def test_a_local_header_that_says_something_else(field: str, change: Callable[[bytes], bytes]) -> None:
    assert refused(change(zipped()), "contradict").entry == "a"


def test_what_stands_around_and_between() -> None:
    data = zipped()
    refused(b"#!/bin/sh\n" + data, "starts with 'PK'")
    refused(data + b"x", "does not end with its end record")
    refused(data + data, "central directory of the zip ends at")
    with zipfile.ZipFile(out := io.BytesIO(), "w") as archive:
        archive.writestr("a", b"")
        archive.comment = b"hello"
    refused(out.getvalue(), "does not end with its end record")
    # A hole in front of the central directory, with its offset put right.
    at = data.index(CENTRAL)
    hole = data[:at] + b"hidden" + data[at:]
    refused(patched(hole, END, 16, "<I", at + 6), "belong to no entry")
    # An entry whose content is the local part of another.
    overlap = two("a", "b")
    refused(patched(overlap, CENTRAL, 42, "<I", 0), "gap or overlap|contradict")
    # Two central headers for the same bytes.
    once = zipped()
    central = once[once.index(CENTRAL) : once.index(END)]
    twice = once.replace(END, central.replace(b"a", b"b") + END)
    twice = patched(patched(twice, END, 8, "<H", 2), END, 10, "<H", 2)
    refused(patched(twice, END, 12, "<I", 2 * len(central)), "gap or overlap")


@pytest.mark.parametrize("cut", [0, 1, 3, 10, 21, 22, 30, 60])
def test_truncated(cut: int) -> None:
    data = packed({"a": b"hello" * 50})
    refused(data[:cut], "zip")
    refused(data[: len(data) - cut - 1], "truncated")
    refused(data[cut + 1 :], "zip")


@pytest.mark.parametrize(
    ("offset", "form", "value"),
    [
        *((8, "<H", 0xFFFF), (10, "<H", 0xFFFF), (12, "<I", 0xFFFFFFFF), (16, "<I", 0xFFFFFFFF)),
        *(
            (4, "<H", 1),
            (6, "<H", 1),
            (8, "<H", 2),
            (10, "<H", 9),
            (12, "<I", 1),
            (16, "<I", 1),
            (20, "<H", 5),
        ),
    ],
)
def test_an_end_record_that_lies(offset: int, form: str, value: int) -> None:
    refused(patched(packed({"a": b"hello"}), END, offset, form, value), "zip")


def test_zip64() -> None:
    with (
        zipfile.ZipFile(out := io.BytesIO(), "w") as archive,
        archive.open("a", "w", force_zip64=True) as file,
    ):
        file.write(b"hello")
    refused(out.getvalue(), "contradict")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({f"e{i}": b"" for i in range(11)}, "at most 10 entries"),
        ({"big": bytes(range(250)) * 201}, "an entry has at most 50000"),
        ({f"e{i}": random.Random(i).randbytes(22_000) for i in range(4)}, "together"),
        ({"bomb": bytes(40_000)}, "over 20 times as many"),
    ],
)
def test_limits(content: dict[str, bytes], match: str) -> None:
    refused(packed(content), match, SMALL)


def test_the_file_itself_is_limited() -> None:
    refused(bytes(100_001), "at most 100000 bytes", SMALL)


def bomb(claimed: int, real: int) -> bytes:
    """An entry that claims to be smaller than what it unpacks to."""
    data = packed({"bomb": bytes(real)})
    crc = zlib.crc32(bytes(claimed))
    for magic, at in ((LOCAL, 14), (CENTRAL, 16)):
        data = patched(patched(data, magic, at, "<I", crc), magic, at + 8, "<I", claimed)
    return data


def test_a_bomb_that_lies_about_its_size_is_stopped_early() -> None:
    data = bomb(1_000, 64 * 1024 * 1024)
    tracemalloc.start()
    try:
        refused(data, "expected 1000 bytes as its header says, found more")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


def test_content_that_does_not_fit_its_header() -> None:
    data = packed({"a": b"hello" * 100})
    refused(patched(patched(data, LOCAL, 22, "<I", 501), CENTRAL, 24, "<I", 501), "found 500")
    refused(patched(patched(data, LOCAL, 14, "<I", 7), CENTRAL, 16, "<I", 7), "damaged")
    at = data.index(b"a") + 1
    refused(data[:at] + b"\xff" + data[at + 1 :], "damaged")
    # Bytes hidden behind the end of the compressed stream.
    size = struct.unpack_from("<I", data, 18)[0]
    more = data[: at + size] + b"hid" + data[at + size :]
    more = patched(patched(more, LOCAL, 18, "<I", size + 3), CENTRAL, 20, "<I", size + 3)
    refused(patched(more, END, 16, "<I", at + size + 3), "needs less bytes")


def test_large_entries_are_read_in_pieces() -> None:
    """Output that zlib holds back at the end of its input is not lost."""
    content = bytes(3_000_000) + b"end"
    archive = Archive(packed({"a": content}), ArchiveLimits(ratio=2000))
    chunks = list(archive.chunks("a"))
    assert b"".join(chunks) == content
    assert max(map(len, chunks)) <= 256 * 1024
