"""Fuzzes the reading of packages: bytes of valid packages are changed; the outcome is a package or a PackageError.

    python tests/fuzz/fuzz_package.py [--seconds 20] [--seed N]

Prints its seed first. The same seed gives the same cases. Fails when anything else is raised, when what was read
is not what its own digests say, or when memory grows beyond what the limits allow.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial

from mixkit.errors import PackageError
from mixkit.package import ArchiveLimits, Package
from mixkit.package.app import Installation
from mixkit.package.build import pack, sign
from mixkit.package.document import dump, load
from mixkit.package.signature import make_key

LIMITS = ArchiveLimits(packed=1 << 20, entries=50, entry=1 << 20, total=2 << 20, ratio=50, ratio_from=1 << 12)
MEMORY = 32 << 20
"""Bytes at most while a package is read: some times `LIMITS.total`."""

MAGICS = (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\7\x08")
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
WORDS = [
    *(b"../../etc/passwd", b"/", b"\\", b"\0", b"{", b"}", b"[[[[[[", b'"', b"NaN", b"1e999", b"-1", b"null"),
    *(b"\xff\xfe", b"manifest.json", b"SIGNATURE", b"\\ud800", b"code/demo/", b'"format":3', b"9" * 50),
]


def seeds() -> list[bytes]:
    """Valid packages: a small one, a signed one with everything, one of several apps."""
    agent = {"code": "code/demo/x.wasm", "inParams": {"n?": "array(int)"}, "outParams": '"a" | {b: int}'}
    base = {"format": 3, "name": "demo", "version": "1.2.3", "kind": "app", "description": "A demo"}
    apps = {"demo": {"agents": {"main": agent}}}
    rich = {
        **base,
        "apps": apps,
        "grants": {"ffis": ["$http_*", "$a"], "options": {"http.hosts": ["example.com"]}},
        "limits": {"wall_time": 1.5, "memory": 1 << 20},
        "setup": "demo/main",
        "save_options": {"a": [1, None, True]},
    }
    several = {**base, "kind": "workspace", "apps": {**apps, "two": {"agents": {}}}}
    code = {"code/demo/x.wasm": bytes(range(256)) * 20}
    more = {
        "runtime.json": b'{"color": "red"}',
        "records/demo.ndjson": b'{"id":"a"}\n' * 50,
        "files/demo/b/logo.png": b"\x89PNG",
    }
    small = pack({"manifest.json": partial(dumped, {**base, "apps": apps})} | contents(code))
    full = pack({"manifest.json": partial(dumped, rich)} | contents(code | more))
    two = pack({"manifest.json": partial(dumped, several)} | contents(code | {"files/two/x": b""}))
    return [small, sign(Package.open(full), make_key()[0]), two]


def dumped(document: object) -> bytes:
    """JSON of the document."""
    return json.dumps(document).encode()


def contents(entries: dict[str, bytes]) -> dict[str, Callable[[], bytes]]:
    """As `pack` takes them."""
    return {path: partial(bytes, data) for path, data in entries.items()}


def mutate(chance: random.Random, data: bytes) -> bytes:
    """The zip with a few changes of its bytes and headers."""
    raw = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        if not raw:
            break
        at = chance.randrange(len(raw))
        match chance.randrange(7):
            case 0:
                raw[at] ^= 1 << chance.randrange(8)
            case 1:
                raw[at] = chance.randrange(256)
            case 2:
                del raw[at : at + chance.choice((1, 4, 30, 500))]
            case 3:
                raw[at:at] = chance.choice(WORDS)
            case 4:
                word = chance.choice(WORDS)
                raw[at : at + len(word)] = word
            case 5:
                start = chance.randrange(len(raw))
                raw[at:at] = raw[start : start + chance.choice((1, 30, 46, 200))]
            case _:
                header(chance, raw)
    return bytes(raw)


def header(chance: random.Random, raw: bytearray) -> None:
    """Put an edge of the number range into a field of some header."""
    places = [i for magic in MAGICS for i in range(len(raw)) if raw.startswith(magic, i)]
    if not places:
        return
    at = chance.choice(places) + chance.randrange(4, 46, 2)
    form = chance.choice(("<H", "<I"))
    number = chance.choice(NUMBERS) & (0xFFFF if form == "<H" else 0xFFFFFFFF)
    raw[at : at + struct.calcsize(form)] = struct.pack(form, number)


def rewrite(chance: random.Random, data: bytes) -> bytes:
    """A sound zip with one entry's content changed, so that what is behind the zip is reached."""
    archive = Package.open(data).archive
    entries = {path: archive.read(path) for path in archive.entries}
    path = chance.choice(["manifest.json", "manifest.json", *entries])
    content = bytearray(entries[path])
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(content) + 1)
        word = chance.choice([*WORDS, bytes([chance.randrange(256)])])
        if chance.random() < 0.5:
            content[at:at] = word
        else:
            content[at : at + chance.choice((1, len(word), 20))] = word
    return pack(contents(entries | {path: bytes(content)}))


def read(data: bytes) -> bool:
    """Whether it is a package, after reading all of it.

    Raises:
        AssertionError: it is one, but what is read is not what it says.
    """
    try:
        package = Package.open(data, LIMITS)
        digests = package.digests
        signer = package.verify()
        releases = [package.release(app, signer=signer) for app in package.manifest.apps]
    except PackageError as exc:
        # What is shown to people must be showable.
        assert str(exc).encode()
        return False
    for release in releases:
        # What was installed can be read back, and is the same.
        installed = Installation(release=release, consent=[release.grants])
        assert load(dump(installed), Installation, "app.json") == installed
        installed.grants()
    assert sum(len(release.entries) for release in releases) <= len(digests)
    for path, entry in package.archive.entries.items():
        content = package.archive.read(path)
        assert (len(content), zlib.crc32(content)) == (entry.size, entry.crc)
        assert not path.startswith("/") and ".." not in path.split("/") and "\0" not in path
    return True


def main() -> int:
    """Fuzz for so many seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    chance, valid = random.Random(seed), seeds()
    assert all(map(read, valid))
    tracemalloc.start()
    cases = packages = peak = 0
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        data = chance.choice((mutate, mutate, rewrite))(chance, chance.choice(valid))
        tracemalloc.reset_peak()
        try:
            packages += read(data)
        except BaseException:
            print(f"case {cases} of seed {seed}: {data.hex()}", file=sys.stderr)
            raise
        peak = max(peak, tracemalloc.get_traced_memory()[1])
        assert peak < MEMORY, f"case {cases} of seed {seed} took {peak} bytes: {data.hex()}"
        cases += 1
    print(f"{cases} cases, {packages} of them packages, at most {peak / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
