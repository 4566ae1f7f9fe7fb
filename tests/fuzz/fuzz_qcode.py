"""Fuzzes MixRT with random code that its verifier accepts, and with containers in which bits are changed.

    python tests/fuzz/fuzz_qcode.py [--seconds 20] [--seed N]

Prints its seed first; the same seed gives the same programs. The machine is built with the address and undefined-behaviour
sanitizers, and runs in a process for each program: what they find ends it, and is printed with the program's seed.
"""

from __future__ import annotations

import argparse
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from mix_rt.errors import QCodeError
from mix_rt.random_code import random_code
from mix_rt.testing import run_random
from mix_rt.vm import Virtual

ROOT = Path(__file__).resolve().parents[2]


def one(program: Path, seed: int) -> str:
    """Run the program of that seed; how it ended."""
    source = random.Random(seed)
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None and stdout is not None

    def step(command: bytes) -> bytes:
        stdin.write(struct.pack("<I", len(command)) + command)
        stdin.flush()
        (size,) = struct.unpack("<I", stdout.read(4))
        return stdout.read(size)

    virtual = Virtual(step)
    try:
        if source.random() < 0.3:
            code = bytearray(random_code(source).to_bytes())
            for _ in range(source.randrange(1, 4)):
                code[source.randrange(len(code))] ^= 1 << source.randrange(8)
            virtual.limits(8 << 20, 4000)
            try:
                virtual.load(bytes(code))
                ended = run_random(virtual, source, loaded=True)
            except QCodeError:
                ended = "refused"
        else:
            ended = run_random(virtual, source)
    finally:
        stdin.close()
        stdout.close()
    if process.wait(60) != 0:
        raise AssertionError(f"the machine ended with {process.returncode}")
    return ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    print("seed", arguments.seed)
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / "mixrt"
        subprocess.run([sys.executable, ROOT / "mixrt" / "build.py", "--native", program], check=True)
        end, seed = time.monotonic() + arguments.seconds, arguments.seed
        while time.monotonic() < end:
            try:
                ends[one(program, seed)] += 1
            except (AssertionError, BrokenPipeError, struct.error) as exc:
                sys.exit(f"seed {seed}: {exc}")
            seed += 1
    print(", ".join(f"{ending} {count}" for ending, count in ends.most_common()))


if __name__ == "__main__":
    main()
