"""Takes the network from this process and all that it starts, for good, in the kernel of the system: whoever makes a socket
of any kind but a Unix one, in whatever language, is killed at that moment (SIGSYS).

`python no_network.py SCRIPT` runs the script so.
"""

from __future__ import annotations

import ctypes
import platform
import runpy
import struct
import sys

# Numbers of the system: architecture in audit terms, and of the calls.
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_IO_URING_SETUP = 425
_X32 = 0x40000000
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_KILL, _ALLOW = 0x80000000, 0x7FFF0000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _MACHINE_AT, _FAMILY_AT = 0, 4, 16
_AF_UNIX = 1


def is_possible() -> bool:
    """Whether it is known how, on this machine."""
    return sys.platform == "linux" and platform.machine() in _MACHINES


def take() -> None:
    """Take it. Raises OSError if the system does not do that."""
    machine, make_socket = _MACHINES[platform.machine()]
    # Each: operation, what is skipped if so, if not, and with what.
    steps = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_EQUAL, 1, 0, machine),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
        (_EQUAL, 0, 1, _IO_URING_SETUP),
        (_RETURN, 0, 0, _KILL),
        (_EQUAL, 1, 0, make_socket),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FAMILY_AT),
        (_EQUAL, 0, 1, _AF_UNIX),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _KILL),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SECCOMP, _FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "this system does not take the network away")


if __name__ == "__main__":
    take()
    script = sys.argv[1]
    sys.argv = sys.argv[1:]
    runpy.run_path(script, run_name="__main__")
