"""Settings of the Wasmtime engine."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

__all__ = ["WasmtimeSettings"]


class WasmtimeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the engine compiles, and where it keeps what it compiled."""

    of_project: ClassVar = (
        "modules",
        "optimize",
        "fibers",
    )

    cache_dir: Annotated[
        str,
        Meta(
            extra={"names": "folder"},
            description="Directory of the compiled code, writable by its owner only. Empty: "
            "`mixkit/wasmtime` under XDG_CACHE_HOME or ~/.cache. `off`: nothing is kept on disk.",
        ),
    ] = ""
    cache_bytes: Annotated[
        int, Meta(ge=0, description="Bytes that the directory may hold; oldest use goes first.")
    ] = 512 * 1024 * 1024
    modules: Annotated[int, Meta(ge=1, description="Compiled modules that a process keeps in memory.")] = 128
    compile_time: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds that compiling a module may take, in a process of its own. 0: compiled in this "
            "process, without limits.",
        ),
    ] = 60
    compile_memory: Annotated[
        int, Meta(ge=64 * 1024 * 1024, description="Bytes of memory that compiling a module may take.")
    ] = 2 * 1024 * 1024 * 1024
    fibers: Annotated[
        bool, Meta(description="Off: a guest that waits holds its thread, as where fibers cannot be had.")
    ] = True
    optimize: Annotated[bool, Meta(description="Off: compiles faster, and the code runs slower.")] = True
