"""Fuzzes the codecs: C against the Python reference, tagged JSON and MessagePack against their own rules.

    python tests/fuzz/fuzz_codec.py [--seconds 20] [--seed N] [--sanitize]

Prints its seed first. The same seed gives the same cases. `--sanitize` builds the extension with the address
and undefined-behaviour sanitizers (needs gcc) in a temporary folder, and fuzzes that.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import os
import random
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from mixkit import _codec_py as reference
from mixkit import msgpack_values, tagged_json
from mixkit.errors import CodecError, MessagePackError, TaggedJSONError, ValueKindError
from mixkit.testing.strategies import identical
from mixkit.value import INT64_MAX, INT64_MIN, UNDEF, Case, Ref, Token

SOURCE = Path(__file__).parents[2] / "mixkit" / "_codec.c"
REFUSALS = (CodecError, MessagePackError, TaggedJSONError, ValueKindError)

TEXTS = [
    "",
    "a",
    "ab",
    "id",
    "_rmx_type",
    "_rmx_value",
    "{tag}nan",
    "{str}",
    "{tag}case:ok",
    "é",
    "€uro",
    "𝄞",
    "\x00",
]
NUMBERS = [0, -1, 2**23 - 1, 2**23, -(2**23), -(2**23) - 1, 2**31, 2**32, 2**53 + 1, INT64_MAX, INT64_MIN]
FLOATS = [0.0, -0.0, 1.0, 1e400, -math.inf, math.nan, 5e-324, 1e22, 0.1]
BAD = [2**63, "\ud800", (), object, UNDEF, Token("x"), Case("db.ref"), {1: 2}, Ref("\udfff"), bytearray()]
WORDS = [tag | aux << 8 for tag in range(14) for aux in (0, 1, 2, 3, 0xFFFFFF)]


class Cases:
    """Random material."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def text(self) -> str:
        if self.random.random() < 0.7:
            return self.random.choice(TEXTS)
        return "".join(
            chr(self.random.choice([97, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10FFFF])) for _ in range(9)
        )

    def key(self) -> str:
        """A text, or one of more keys than the decoder's cache has room for."""
        return self.text() if self.random.random() < 0.5 else f"k{self.random.randrange(5000)}"

    def whole(self) -> Any:
        """A value, sometimes with something bad in it, now and then nested to about the limit."""
        value = self.value(bad=self.random.choice([0, 0, 0.01]))
        if self.random.random() < 0.02:
            for _ in range(self.random.randrange(250, 260)):
                value = [value]
        return value

    def value(self, depth: int = 0, bad: float = 0.0) -> Any:
        draw = self.random
        if draw.random() < bad:
            return draw.choice(BAD)
        match draw.randrange(8 if depth > 4 else 14):
            case 0:
                return draw.choice([None, True, False])
            case 1:
                return draw.choice(NUMBERS)
            case 2:
                return draw.getrandbits(64) - 2**63 >> draw.randrange(64)
            case 3:
                return draw.choice(FLOATS)
            case 4 | 5:
                return self.text()
            case 6:
                return draw.randbytes(draw.randrange(9))
            case 7:
                return Ref(self.text())
            case 8 | 9:
                return [self.value(depth + 1, bad) for _ in range(draw.randrange(6))]
            case 10:
                return Case(self.text())
            case 11:
                return Case(self.text(), self.value(depth + 1, bad))
            case _:
                size = draw.randrange(40 if depth < 2 else 6)
                return {self.key(): self.value(depth + 1, bad) for _ in range(size)}

    def damage(self, octets: bytes) -> bytes:
        """Some bytes or words changed, removed, doubled or added."""
        draw = self.random
        damaged = bytearray(octets)
        for _ in range(draw.randrange(1, 4)):
            at = draw.randrange(len(damaged) + 1)
            match draw.randrange(6):
                case 0:
                    damaged[at : at + 1] = draw.randbytes(1)
                case 1:
                    damaged[at // 4 * 4 : at // 4 * 4 + 4] = struct.pack("<I", draw.choice(WORDS))
                case 2:
                    del damaged[at:]
                case 3:
                    # Whole words over others, which repeats and swaps map keys.
                    other, to = draw.randrange(len(damaged) + 1) // 4 * 4, at // 4 * 4
                    size = 4 * draw.randrange(1, 5)
                    damaged[to : to + size] = damaged[other : other + size]
                case 4:
                    damaged[at:at] = damaged[at // 4 * 4 :][: draw.randrange(16)]
                case 5:
                    damaged[at:at] = draw.choice(
                        [b"\x00" * 4, b'"', b"{", b"[", b",", b"1e999", b"NaN", b"\\ud800"]
                    )
        return bytes(damaged)


def outcome(call: Callable[[], Any]) -> tuple[str, Any]:
    """What a call answers, or what its refusal says. Other errors end the run."""
    try:
        return "value", call()
    except REFUSALS as exc:
        return type(exc).__name__, (str(exc), vars(exc))


def agree(one: tuple[str, Any], other: tuple[str, Any]) -> bool:
    if one[0] == other[0] == "value":
        return identical(one[1], other[1])
    return one == other


def fuzz_codec(cases: Cases, fast: ModuleType) -> None:
    value = cases.whole()
    octets = outcome(lambda: fast.encode(value))
    assert agree(octets, outcome(lambda: reference.encode(value))), "encode differs"
    assert fast.scan(value) == reference.scan(value), "scan differs"
    if octets[0] != "value":
        return
    assert identical(fast.decode(octets[1]), value), "decode of encode differs"
    damaged = cases.damage(octets[1])
    back = outcome(lambda: fast.decode(damaged))
    assert agree(back, outcome(lambda: reference.decode(damaged))), f"decode differs of {damaged.hex(' ', 4)}"
    assert back[0] != "value" or fast.encode(back[1]) == damaged, f"not canonical: {damaged.hex(' ', 4)}"


def fuzz_tagged_json(cases: Cases) -> None:
    value = cases.whole()
    text = outcome(lambda: tagged_json.dumps(value))
    if text[0] != "value":
        return
    assert identical(tagged_json.loads(text[1]), value), "loads of dumps differs"
    damaged = cases.damage(text[1].encode())
    back = outcome(lambda: tagged_json.loads(damaged))
    careful = outcome(lambda: tagged_json.from_json(tagged_json._parse(damaged, tagged_json._parser)))
    assert agree(back, careful), f"quick and careful reading differ of {damaged!r}"
    if back[0] == "value":
        again = outcome(lambda: tagged_json.loads(tagged_json.dumps(back[1])))
        assert agree(back, again), f"no round trip of {damaged!r}"


def fuzz_msgpack(cases: Cases) -> None:
    value = cases.whole()
    octets = outcome(lambda: msgpack_values.pack(value))
    if octets[0] != "value":
        return
    assert identical(msgpack_values.unpack(octets[1]), value), "unpack of pack differs"
    damaged = cases.damage(octets[1])
    back = outcome(lambda: msgpack_values.unpack(damaged))
    if back[0] == "value":
        again = msgpack_values.unpack(msgpack_values.pack(back[1]))
        assert identical(again, back[1]), f"no round trip of {damaged.hex()}"


def fuzz(seconds: float, seed: int, fast: ModuleType) -> int:
    """Run until the time is over; answers the number of rounds."""
    end = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < end:
        cases = Cases(seed + rounds)
        try:
            fuzz_codec(cases, fast)
            fuzz_tagged_json(cases)
            fuzz_msgpack(cases)
        except BaseException:
            print(f"failed in round {rounds}: repeat it with --seed {seed + rounds}", flush=True)
            raise
        rounds += 1
    return rounds


def load(path: Path) -> ModuleType:
    """The extension module from this file, in place of the installed one."""
    spec = importlib.util.spec_from_file_location("mixkit._codec", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sanitized(arguments: list[str]) -> int:
    """Build with sanitizers, and run this script again with that; answers its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "_codec.so"
        flags = ["-shared", "-fPIC", "-g", "-O1", "-std=c11", "-fno-omit-frame-pointer"]
        checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        include = f"-I{sysconfig.get_path('include')}"
        subprocess.run(["gcc", *flags, *checks, include, str(SOURCE), "-o", str(library)], check=True)
        runtimes = [
            subprocess.run(["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True)
            for name in ("libasan.so", "libubsan.so")
        ]
        # Leaks are a matter of tests/test_codec.py. Python's own allocator would hide overruns.
        environment = {
            **os.environ,
            "LD_PRELOAD": " ".join(runtime.stdout.strip() for runtime in runtimes),
            "ASAN_OPTIONS": "detect_leaks=0",
            "PYTHONMALLOC": "malloc",
        }
        command = [sys.executable, __file__, *arguments, "--extension", str(library)]
        return subprocess.run(command, env=environment, check=False).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--sanitize", action="store_true", help="build and fuzz a variant with sanitizers")
    parser.add_argument("--extension", type=Path, help="file of the extension module to fuzz")
    options = parser.parse_args()
    seed = random.SystemRandom().getrandbits(40) if options.seed is None else options.seed
    if options.sanitize:
        sys.exit(sanitized(["--seconds", str(options.seconds), "--seed", str(seed)]))
    fast = load(options.extension) if options.extension else importlib.import_module("mixkit._codec")
    print(f"seed {seed}", flush=True)
    print(f"{fuzz(options.seconds, seed, fast)} rounds without a finding")


if __name__ == "__main__":
    main()
