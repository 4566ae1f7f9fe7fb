"""What the tests of MixRT share: machines to run code in, native with sanitizers and in each engine."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mix_rt.vm import Virtual

ROOT = Path(__file__).parents[3]


class Native:
    """The machine as a process that is spoken to over pipes."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, command: bytes) -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(struct.pack("<I", len(command)) + command)
        stdin.flush()
        head = stdout.read(4)
        assert len(head) == 4, f"the machine ended with {self._process.wait()}"
        return stdout.read(*struct.unpack("<I", head))

    def close(self) -> None:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.close()
        stdout.close()
        assert self._process.wait(30) == 0


@pytest.fixture(scope="session")
def native_program(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with the sanitizers that the compiler has, and kept until a source changes."""
    cache = getattr(pytestconfig, "cache", None)
    folder = tmp_path_factory.mktemp("mixrt") if cache is None else Path(cache.mkdir("mixrt"))
    sources = b"".join(path.read_bytes() for path in sorted((ROOT / "mixrt").glob("*.[chp]*")))
    program = folder / f"mixrt-{hashlib.sha256(sources).hexdigest()[:16]}"
    if not program.exists():
        for old in folder.iterdir():
            old.unlink(missing_ok=True)
        made = program.with_suffix(f".{os.getpid()}")
        command = [sys.executable, ROOT / "mixrt" / "build.py", "--native", made]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            subprocess.run(command, env={**os.environ, "MIXRT_SANITIZERS": ""}, check=True)
        made.rename(program)
    return program


@pytest.fixture
def native(native_program: Path) -> Iterator[Callable[[], Virtual]]:
    """Makes machines in processes of their own."""
    made: list[Native] = []

    def make() -> Virtual:
        made.append(Native(native_program))
        return Virtual(made[-1])

    yield make
    for each in made:
        each.close()
