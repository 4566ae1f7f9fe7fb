"""What the system takes from a process that runs SQL, for good, whatever becomes of it: files, network, others.

DuckDB is closed by its own settings; this holds if they fail, or DuckDB does. Landlock takes all files but what Python
still has to read of its own and of the packages named below, and the folder of the database files; TCP; and signals to
others. Seccomp takes sockets but Unix ones, and reaching into other processes. Neither needs privileges.

Both are for a thread and those that it starts: it must be the only one.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import struct
import sysconfig
from pathlib import Path
from typing import Final

__all__ = ["Confinement"]

_PACKAGES: Final = ("duckdb", "pyarrow", "msgspec", "mixkit", "mix_duckdb")

_OF_THE_MACHINE: Final = (
    "/dev/urandom",
    "/etc/ld.so.cache",
    "/etc/ssl/openssl.cnf",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self/cgroup",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
)
"""How large the machine is, and what libraries read when they are loaded. DuckDB 2.0 aborts where it is not let to."""

# Landlock: calls, which have the same numbers on all machines, and rights by the version that brought them.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION, _BENEATH = 1, 1
_READ: Final = 1 << 2 | 1 << 3  # Files, and what is in folders.
_OF_FILES: Final = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14
_RIGHTS: Final = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_TCP: Final = 1 << 0 | 1 << 1
_SCOPES: Final = 1 << 0 | 1 << 1  # Unix sockets without a path, and signals.

# Seccomp: a program of its virtual machine. Machine in audit terms; numbers of socket, ptrace, process_vm_….
_MACHINES: Final = {
    "x86_64": (0xC000003E, 41, (101, 310, 311)),
    "aarch64": (0xC00000B7, 198, (117, 270, 271)),
}
_IO_URING_SETUP, _X32 = 425, 0x40000000
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_REFUSE, _ALLOW = 0x00050001, 0x7FFF0000  # With EPERM.
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _MACHINE_AT, _FAMILY_AT, _AF_UNIX = 0, 4, 16, 1


def _mapped() -> set[str]:
    """Files that this process has mapped."""
    with open("/proc/self/maps") as file:  # noqa: PTH123
        lines = [line.rstrip("\n").split(maxsplit=5) for line in file]
    return {parts[5] for parts in lines if len(parts) == 6 and parts[5].startswith("/")}


class Confinement:
    """Made where there is time, and taken on in the process itself."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        roots = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), "/usr/lib", "/lib", "/lib64"}
        # Where this system has its libraries, which is not the same everywhere.
        roots |= {os.path.dirname(path) for path in _mapped() if ".so" in path}  # noqa: PTH120
        for name in _PACKAGES:
            found = importlib.util.find_spec(name)
            if found is not None and found.origin is not None:
                roots.add(str(Path(found.origin).parent.parent))
        self._readable = sorted(root for root in roots if os.path.isdir(root))  # noqa: PTH112

    def take(self, folder: str = "") -> list[str]:
        """Confine this process. Answers which of both the system does not have.

        Args:
            folder: in which it may do as it likes; none if empty.
        """
        lacking = []
        self._library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        for name, done in (("landlock", self._landlock(folder)), ("seccomp", self._seccomp())):
            if not done:
                lacking.append(name)
        return lacking

    def _landlock(self, folder: str) -> bool:
        version = self._library.syscall(_CREATE, None, 0, _VERSION)
        if version < 1:
            return False
        rights = sum(right for since, right in _RIGHTS.items() if since <= version)
        wanted = struct.pack("QQQ", rights, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
        wanted = wanted[: 24 if version >= 6 else 16 if version >= 4 else 8]
        rules = self._library.syscall(_CREATE, wanted, len(wanted), 0)
        if rules < 0:
            return False
        try:
            allowed = [(path, _READ) for path in (*self._readable, *_OF_THE_MACHINE)]
            if folder:
                allowed.append((folder, rights))
            for path, right in allowed:
                try:
                    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
                except OSError:  # Who cannot reach it need not be kept from it.
                    continue
                try:
                    if not os.path.isdir(path):  # noqa: PTH112
                        right &= _OF_FILES
                    rule = struct.pack("=Qi", right & rights, descriptor)
                    if self._library.syscall(_ADD, rules, _BENEATH, rule, 0):
                        return False
                finally:
                    os.close(descriptor)
            return not self._library.syscall(_RESTRICT, rules, 0)
        finally:
            os.close(rules)

    def _seccomp(self) -> bool:
        known = _MACHINES.get(platform.machine())
        if known is None:
            return False
        machine, make_socket, others = known
        # Each: operation, what is skipped if so, if not, and with what.
        steps = [
            (_LOAD, 0, 0, _MACHINE_AT),
            (_EQUAL, 1, 0, machine),
            (_RETURN, 0, 0, _REFUSE),
            (_LOAD, 0, 0, _NUMBER_AT),
            (_AT_LEAST, 0, 1, _X32),
            (_RETURN, 0, 0, _REFUSE),
        ]
        for number in (_IO_URING_SETUP, *others):
            steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
        steps += [
            (_EQUAL, 1, 0, make_socket),
            (_RETURN, 0, 0, _ALLOW),
            (_LOAD, 0, 0, _FAMILY_AT),
            (_EQUAL, 0, 1, _AF_UNIX),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _REFUSE),
        ]
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
        program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
        return not self._library.prctl(_SECCOMP, _FILTER, program, 0, 0)
