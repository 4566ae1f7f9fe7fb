"""Nothing but what asks the egress check opens a connection: every FFI of the profile `all` runs in a process in which the
system kills whoever makes a socket that is no Unix one, in Python or not, itself or in a process that it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mixkit.kernel import Kernel

sys.path.insert(0, str(Path(__file__).parent))

import no_network

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(not no_network.is_possible(), reason="unknown how, on this machine")


def run(script: Path, *args: Path) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}
    return subprocess.run(
        [sys.executable, str(HERE / "no_network.py"), str(script), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=inherited,
    )


@pytest.mark.parametrize(
    ("code", "killed"),
    [
        ("socket.socket(socket.AF_UNIX); socket.socketpair()", False),
        ("socket.socket()", True),
        ("socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)", True),
        ("socket.getaddrinfo('example.com', 80)", True),
        ("ctypes.CDLL(None).socket(2, 1, 0)", True),
        ("threading.Thread(target=socket.socket).start(); time.sleep(5)", True),
        (
            "sys.exit(subprocess.run([sys.executable, '-c', 'import socket; socket.socket()']).returncode != -31)",
            False,
        ),
    ],
)
def test_whoever_reaches_for_the_network_is_killed(tmp_path: Path, code: str, killed: bool) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"import ctypes, socket, subprocess, sys, threading, time\n{code}\n")
    done = run(script)
    assert done.returncode == (-signal.SIGSYS if killed else 0), done.stderr


def test_no_ffi_reaches_for_the_network(tmp_path: Path) -> None:
    done = run(HERE / "every_ffi.py", tmp_path)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-4000:]}"
    with Kernel("all", environ={}) as kernel:
        assert set(json.loads(done.stdout)) == {ffi.name for ffi in kernel.ffis}
