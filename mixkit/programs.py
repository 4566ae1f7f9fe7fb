"""Programs: code, compiled once by the engine that is to run it, and kept for the runs to come."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from mixkit.contracts import Compiled, Compiler, Interpreter
from mixkit.disk_cache import DiskCache
from mixkit.errors import GuestError, NotFound
from mixkit.kernel_settings import KernelSettings
from mixkit.near import meant_file
from mixkit.sources import Sources
from mixkit.vm.idle import IdleInstances
from mixkit.vm.interpreted import InterpretedProgram
from mixkit.vm.program import Program
from mixkit.vm.snapshot import SnapshotCache

__all__ = ["Code", "Programs"]

_WASM = b"\0asm"
_COMPILED_BY = {".c": "wasm", ".mix": "lang"}
"""How the names of sources end that plugins of ours compile."""

Code: TypeAlias = "Program | bytes | str | Path"


class Programs:
    """The programs of one kernel, the latest `settings.kernel.programs` of them. Thread-safe.

    Args:
        compile: `Kernel.compile`.
        compilers, interpreters: those of the plugins, made when first asked for.
        own: how many there are to be, of instances and snapshots too.
        profile: its name; snapshots belong to it.

    Attributes:
        snapshots: what init made of them.
        idle: the instances that wait, and what they take together.
    """

    def __init__(
        self,
        compile: Callable[[bytes], Compiled],
        own: KernelSettings,
        profile: str,
        compilers: Callable[[], Iterable[Compiler]] = tuple,
        interpreters: Callable[[], Iterable[Interpreter]] = tuple,
    ) -> None:
        disk = None
        if own.snapshot_dir:
            disk = DiskCache(Path(own.snapshot_dir), own.snapshot_bytes, ".snapshot")
        self.snapshots = SnapshotCache(own.snapshots, own.snapshot_bytes, disk)
        self.idle = IdleInstances(own.idle_bytes, own.idle_mappings)
        self._compile = compile
        self._compilers = compilers
        self._interpreters = interpreters
        self._own = own
        self._profile = profile
        self._known: OrderedDict[str, Program] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, code: Code, name: str = "") -> Program:
        """See `Kernel.load`."""
        if isinstance(code, Program):
            return code
        if isinstance(code, str | Path):
            name = name or Path(code).name
            code = self.read(Path(code))
        interpreter = self._interpreter(code)
        if interpreter is None:
            compiled = self._compile(code)
            key = compiled.module.hash
        else:
            compiled, key = self._compile(interpreter.module()), hashlib.sha256(code).hexdigest()
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        rest = (name, self.snapshots, self._profile, self._own.idle_instances, self.idle)
        if interpreter is None:
            made = Program(compiled.engine, compiled.module, *rest)
        else:
            made = InterpretedProgram(interpreter, code, compiled, *rest)
        dropped: list[Program] = []
        with self._lock:
            program = self._known.setdefault(key, made)
            while len(self._known) > self._own.programs:
                dropped.append(self._known.popitem(last=False)[1])
        for old in dropped:
            old.close()
        return program

    def read(self, path: Path) -> bytes:
        """See `Kernel.read`."""
        made = self.compiled(path)
        if made is not None:
            return made[1]
        try:
            return path.read_bytes()
        except OSError as exc:
            raise NotFound(f"cannot read {path.name!r}: {exc.strerror}{meant_file(path)}") from None

    def compiled(self, path: Path) -> tuple[str, bytes] | None:
        """See `Kernel.compiled`."""
        if path.suffix not in ("", ".wasm"):
            for compiler in self._compilers():
                if path.suffix in compiler.suffixes:
                    return f"{path.stem}{compiler.target}", compiler.compile(Sources(path))
        if path.suffix in _COMPILED_BY:
            raise NotFound(
                f"{path.name}: plugin {_COMPILED_BY[path.suffix]!r} compiles such sources, which is not on in the "
                f"profile {self._profile!r}"
            )
        return None

    def said(self, code: bytes) -> Mapping[str, Any] | None:
        """See `Kernel.said`."""
        interpreter = self._interpreter(code)
        return None if interpreter is None else interpreter.manifest(interpreter.read(code))

    def places(self, code: bytes, frames: Iterable[str]) -> list[str]:
        """See `Kernel.places`."""
        interpreter = self._interpreter(code)
        if interpreter is None:
            raise GuestError("expected code with symbols that something here reads, found other bytes")
        read = interpreter.read(code)
        return [place for frame in frames for place in interpreter.places(read, frame)]

    def _interpreter(self, code: bytes) -> Interpreter | None:
        """The one for this kind of code; None if it is a Wasm module, or nothing that we know."""
        if code.startswith(_WASM):
            return None
        for interpreter in self._interpreters():
            if code.startswith(interpreter.magic):
                return interpreter
        return None

    def close(self) -> None:
        """Free all instances, and forget everything."""
        for program in self._known.values():
            program.close()
        self._known.clear()
        self.snapshots.clear()
