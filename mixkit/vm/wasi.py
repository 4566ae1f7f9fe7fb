"""WASI preview 1 as untrusted code gets it: clock, sleep, randomness, and the three standard streams, arguments and
variables of whoever owns the instance. No files, no network.

Agents have output to the log, and nothing else of these; programs that an agent starts have what it gives them. All
functions of the interface exist, so that what a compiler's libc imports links; what is not offered answers
an error number. Signatures and numbers: the WASI preview 1 witx, `wasi_snapshot_preview1`.
"""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

from mixkit.contracts import FuncType, HostFunction, Instance, ValType
from mixkit.vm.wasi_poll import poll_oneoff

__all__ = ["WASI", "Owner"]

SUCCESS, BADF, INVAL, NOSYS, SPIPE, NOTCAPABLE = 0, 8, 28, 52, 70, 76
_MAX_IOVS = 1024
_MAX_WRITE = 1 << 20
_MAX_RANDOM = 1 << 20
_UNKNOWN = 0
_CHARACTER_DEVICE = 2
_STREAMS = (0, 1, 2)
_RIGHTS_FD_READ = 1 << 1
_RIGHTS_FD_WRITE = 1 << 6
_RIGHTS_POLL = 1 << 27

_TYPES: dict[str, ValType] = {"i": "i32", "I": "i64"}
# name: parameters (i = i32, I = i64), and the error number that it always answers.
_REFUSED = {
    "fd_advise": ("iIIi", BADF), "fd_allocate": ("iII", BADF), "fd_datasync": ("i", BADF),
    "fd_fdstat_set_rights": ("iII", BADF), "fd_filestat_set_size": ("iI", BADF),
    "fd_filestat_set_times": ("iIIi", BADF), "fd_prestat_get": ("ii", BADF),
    "fd_prestat_dir_name": ("iii", BADF), "fd_readdir": ("iiiIi", BADF), "fd_renumber": ("ii", BADF),
    "fd_sync": ("i", BADF), "path_create_directory": ("iii", NOTCAPABLE),
    "path_filestat_get": ("iiiii", NOTCAPABLE), "path_filestat_set_times": ("iiiiIIi", NOTCAPABLE),
    "path_link": ("iiiiiii", NOTCAPABLE), "path_open": ("iiiiiIIii", NOTCAPABLE),
    "path_readlink": ("iiiiii", NOTCAPABLE), "path_remove_directory": ("iii", NOTCAPABLE),
    "path_rename": ("iiiiii", NOTCAPABLE), "path_symlink": ("iiiii", NOTCAPABLE),
    "path_unlink_file": ("iii", NOTCAPABLE), "proc_raise": ("i", NOSYS), "sock_accept": ("iii", BADF),
    "sock_recv": ("iiiiii", BADF), "sock_send": ("iiiii", BADF), "sock_shutdown": ("ii", BADF),
}  # fmt: skip
# The same for the standard streams, as for pipes and terminals; other descriptors answer BADF.
_OF_STREAMS = {
    "fd_close": ("i", SUCCESS), "fd_fdstat_set_flags": ("ii", SUCCESS), "fd_pread": ("iiiIi", SPIPE),
    "fd_pwrite": ("iiiIi", SPIPE), "fd_seek": ("iIii", SPIPE), "fd_tell": ("ii", SPIPE),
}  # fmt: skip


class Owner(Protocol):
    """Whom an instance belongs to that may call these functions: its `owner`.

    Attributes:
        unique: set once it has drawn random numbers or read a clock, which a snapshot would repeat.
        arguments, variables: what it was started with, each without its end; a variable as `NAME=value`.
        terminal: whether the streams pass for a terminal, and not for pipes.
    """

    unique: bool

    @property
    def arguments(self) -> Sequence[bytes]: ...
    @property
    def variables(self) -> Sequence[bytes]: ...
    @property
    def terminal(self) -> bool: ...

    @property
    def waiting(self) -> int:
        """Bytes of standard input that have not been read."""
        ...

    def input(self, size: int) -> bytes:
        """The next bytes of standard input, at most so many; none at its end."""
        ...

    def output(self, fd: int, data: bytes) -> None:
        """Bytes that were written to stdout (1) or stderr (2)."""
        ...

    def sleep(self, seconds: float, then: Callable[[], int]) -> Any:
        """Wait, at most until the instance is stopped, which is then raised; answers what `then` does, or `LATER`."""
        ...

    def exit(self, status: int) -> NoReturn:
        """It has ended itself: raises what ends the call that is under way."""
        ...


def _args_sizes_get(instance: Instance, count: int, size: int) -> int:
    return _sizes(instance, instance.owner.arguments, count, size)


def _environ_sizes_get(instance: Instance, count: int, size: int) -> int:
    return _sizes(instance, instance.owner.variables, count, size)


def _args_get(instance: Instance, items: int, buffer: int) -> int:
    return _list(instance, instance.owner.arguments, items, buffer)


def _environ_get(instance: Instance, items: int, buffer: int) -> int:
    return _list(instance, instance.owner.variables, items, buffer)


def _sizes(instance: Instance, texts: Sequence[bytes], count: int, size: int) -> int:
    instance.write(count, struct.pack("<I", len(texts)))
    instance.write(size, struct.pack("<I", sum(map(len, texts)) + len(texts)))
    return SUCCESS


def _list(instance: Instance, texts: Sequence[bytes], items: int, buffer: int) -> int:
    """The texts behind one another, a zero behind each, and where each begins."""
    if texts:
        starts = []
        at = buffer & 0xFFFFFFFF
        for text in texts:
            starts.append(at & 0xFFFFFFFF)
            at += len(text) + 1
        instance.write(buffer, b"\0".join(texts) + b"\0")
        instance.write(items, struct.pack(f"<{len(starts)}I", *starts))
    return SUCCESS


def _clock_time_get(instance: Instance, clock: int, precision: int, out: int) -> int:
    # CPU-time clocks would tell one guest about another's work.
    if clock not in (0, 1):
        return INVAL
    instance.owner.unique = True
    now = time.time_ns() if clock == 0 else time.monotonic_ns()
    instance.write(out, struct.pack("<Q", now))
    return SUCCESS


def _clock_res_get(instance: Instance, clock: int, out: int) -> int:
    if clock not in (0, 1):
        return INVAL
    instance.write(out, struct.pack("<Q", 1000))
    return SUCCESS


def _random_get(instance: Instance, ptr: int, size: int) -> int:
    size &= 0xFFFFFFFF
    if size > _MAX_RANDOM:
        return INVAL
    instance.owner.unique = True
    instance.write(ptr, secrets.token_bytes(size))
    return SUCCESS


def _fd_write(instance: Instance, fd: int, iovs: int, count: int, out: int) -> int:
    if fd not in (1, 2):
        return BADF
    count &= 0xFFFFFFFF
    if count > _MAX_IOVS:
        return INVAL
    table = instance.read(iovs, count * 8)
    parts = []
    written = 0
    for ptr, size in struct.iter_unpack("<II", table):
        size = min(size, _MAX_WRITE - written)
        parts.append(instance.read(ptr, size))
        written += size
    instance.owner.output(fd, b"".join(parts))
    instance.write(out, struct.pack("<I", written))
    return SUCCESS


def _fd_read(instance: Instance, fd: int, iovs: int, count: int, out: int) -> int:
    if fd != 0:
        return BADF
    count &= 0xFFFFFFFF
    if count > _MAX_IOVS:
        return INVAL
    written = 0
    if instance.owner.waiting:
        for ptr, size in struct.iter_unpack("<II", instance.read(iovs, count * 8)):
            data = instance.owner.input(size)
            if not data:
                break
            instance.write(ptr, data)
            written += len(data)
    instance.write(out, struct.pack("<I", written))
    return SUCCESS


def _fd_fdstat_get(instance: Instance, fd: int, out: int) -> int:
    if fd not in _STREAMS:
        return BADF
    rights = _RIGHTS_POLL | (_RIGHTS_FD_WRITE if fd else _RIGHTS_FD_READ)
    instance.write(out, struct.pack("<BxHxxxxQQ", _kind(instance), 0, rights, 0))
    return SUCCESS


def _fd_filestat_get(instance: Instance, fd: int, out: int) -> int:
    if fd not in _STREAMS:
        return BADF
    # Device, inode, kind, links, size, and three times.
    instance.write(out, struct.pack("<QQBxxxxxxxQQQQQ", 0, 0, _kind(instance), 1, 0, 0, 0, 0))
    return SUCCESS


def _kind(instance: Instance) -> int:
    return _CHARACTER_DEVICE if instance.owner.terminal else _UNKNOWN


def _sched_yield(instance: Instance) -> int:
    return SUCCESS


def _proc_exit(instance: Instance, code: int) -> None:
    instance.owner.exit(code)


def _function(params: str, call: Callable[..., Any], *, returns: bool = True) -> HostFunction:
    return HostFunction(FuncType(tuple(_TYPES[p] for p in params), ("i32",) if returns else ()), call)


def _refusing(number: int) -> Callable[..., int]:
    return lambda instance, *args: number


def _of_streams(number: int) -> Callable[..., int]:
    return lambda instance, fd, *args: number if fd in _STREAMS else BADF


WASI: dict[tuple[str, str], HostFunction] = {
    ("wasi_snapshot_preview1", name): function
    for name, function in {
        **{name: _function(params, _refusing(number)) for name, (params, number) in _REFUSED.items()},
        **{name: _function(params, _of_streams(number)) for name, (params, number) in _OF_STREAMS.items()},
        "args_get": _function("ii", _args_get),
        "args_sizes_get": _function("ii", _args_sizes_get),
        "environ_get": _function("ii", _environ_get),
        "environ_sizes_get": _function("ii", _environ_sizes_get),
        "clock_res_get": _function("ii", _clock_res_get),
        "clock_time_get": _function("iIi", _clock_time_get),
        "fd_fdstat_get": _function("ii", _fd_fdstat_get),
        "fd_filestat_get": _function("ii", _fd_filestat_get),
        "fd_read": _function("iiii", _fd_read),
        "fd_write": _function("iiii", _fd_write),
        "poll_oneoff": _function("iiii", poll_oneoff),
        "proc_exit": _function("i", _proc_exit, returns=False),
        "random_get": _function("ii", _random_get),
        "sched_yield": _function("", _sched_yield),
    }.items()
}
"""The host functions. The calling instance's `owner` is an `Owner`."""
