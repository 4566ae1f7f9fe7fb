"""The library's portable files under AddressSanitizer and UBSan: no read beyond a buffer, whatever is in it."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from mix_wasm.compiler import sdk

from mixkit import _codec_py as reference
from mixkit.errors import CodecError
from mixkit.value import Case, Ref, Token, Value

HARNESS = Path(__file__).parent / "native" / "harness.c"
BUFFERS = 20_000
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0"}
"""A guest frees nothing before its call has been answered, so leaks are its way of life."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no system C compiler; only that one has AddressSanitizer")
    out = tmp_path_factory.mktemp("native") / "harness"
    files = [str(sdk() / name) for name in ("check.c", "out.c", "text.c", "value.c")]
    flags = ["-std=gnu11", "-g", "-O1", "-w", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    done = subprocess.run(
        [compiler, *flags, f"-I{sdk()}", str(HARNESS), *files, "-o", str(out)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if done.returncode != 0 and "sanitize" in done.stderr:
        pytest.skip("the system C compiler has no sanitizers")
    assert done.returncode == 0, done.stderr
    return out


def some_value(rng: random.Random, depth: int = 0) -> Value:
    kind = rng.randrange(8 if depth > 4 else 12)
    match kind:
        case 0:
            return None
        case 1:
            return rng.random() < 0.5
        case 2:
            return rng.choice([0, -1, 2**23, -(2**23), 2**62, rng.getrandbits(40)])
        case 3:
            return rng.choice([0.5, -0.0, float("inf"), float("nan"), rng.random()])
        case 4 | 5:
            return "".join(rng.choices("aé€😀\0", k=rng.randrange(9)))
        case 6:
            return rng.randbytes(rng.randrange(9))
        case 7:
            return Ref("r" * rng.randrange(5))
        case 8 | 9:
            return [some_value(rng, depth + 1) for _ in range(rng.randrange(4))]
        case 10:
            return Case("c" * rng.randrange(5), some_value(rng, depth + 1))
        case _:
            return {f"k{rng.randrange(50)}": some_value(rng, depth + 1) for _ in range(rng.randrange(5))}


def some_buffer(rng: random.Random) -> bytes:
    words = bytearray(reference.encode(some_value(rng)))
    match rng.randrange(5):
        case 0:
            return bytes(words)
        case 1:
            return bytes(words[: rng.randrange(len(words) + 1)])
        case 2:
            words += rng.randbytes(rng.randrange(6))
        case 3:
            at = rng.randrange(0, len(words), 4)
            aux = rng.choice([0, 1, 2, 5, 0xFFFFFE, 0xFFFFFF])
            words[at : at + 4] = struct.pack("<I", rng.randrange(14) | aux << 8)
        case _:
            for _ in range(rng.randint(1, 3)):
                words[rng.randrange(len(words))] = rng.choice([0, 1, 0xFF, rng.randrange(256)])
    return bytes(words)


def expected(buffer: bytes) -> int:
    try:
        reference.decode(buffer, token=Token)
    except CodecError as exc:
        return exc.offset
    return -1


def test_every_buffer_is_judged_as_by_the_reference(harness: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    rng = random.Random(seed)
    buffers = [some_buffer(rng) for _ in range(BUFFERS)]
    buffers += [struct.pack("<I", 9 | 1 << 8) * depth + struct.pack("<I", 1) for depth in (256, 257, 5000)]
    sent = b"".join(struct.pack("<I", len(buffer)) + buffer for buffer in buffers)
    done = subprocess.run(
        [str(harness)], input=sent, capture_output=True, timeout=100, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, f"seed {seed}: {done.stderr.decode()[:3000]}"
    answers = struct.unpack(f"<{len(buffers)}q", done.stdout)
    judged = [expected(buffer) for buffer in buffers]
    wrong = [(b.hex(), a, j) for b, a, j in zip(buffers, answers, judged, strict=True) if a != j]
    assert not wrong, f"seed {seed}: {wrong[:3]}"
    assert 0.1 < judged.count(-1) / len(judged) < 0.9
