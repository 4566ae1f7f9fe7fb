"""Settings of the wasm2c engine."""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

__all__ = ["Wasm2cSettings"]

_DIGEST: Final = re.compile("[0-9a-f]{64}")
_NAME: Final = re.compile("[a-z][a-z0-9_-]{0,31}")


class Wasm2cSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which modules the engine takes, how it compiles them, and where it keeps what it compiled."""

    trusted: Annotated[
        tuple[str, ...],
        Meta(
            description="The modules that this engine runs: SHA-256 in hex, or the name of one that an installed "
            "package offers (`mixrt`). The others go to the next engine."
        ),
    ] = ()
    trust_all: Annotated[
        bool, Meta(description="Whether this engine runs every module that it can translate.")
    ] = False
    cache_dir: Annotated[
        str,
        Meta(
            extra={"names": "folder"},
            description="Directory of the compiled code, writable by its owner only. Empty: "
            "`mixkit/wasm2c` under XDG_CACHE_HOME or ~/.cache. `off`: nothing is kept on disk.",
        ),
    ] = ""
    cache_bytes: Annotated[
        int, Meta(ge=0, description="Bytes that the directory may hold; oldest use goes first.")
    ] = 512 * 1024 * 1024
    modules: Annotated[int, Meta(ge=1, description="Compiled modules that a process keeps in memory.")] = 128
    compiler: Annotated[
        str,
        Meta(
            extra={"names": "program"},
            description="The C compiler, by name or path. Empty: cc, gcc or clang, else Zig's from `mix-wasm2c[zig]`.",
        ),
    ] = ""
    compile_time: Annotated[
        float,
        Meta(gt=0, description="Seconds that each of translating and compiling a module may take."),
    ] = 120
    compile_memory: Annotated[
        int, Meta(ge=64 * 1024 * 1024, description="Bytes of memory that compiling a module may take.")
    ] = 2 * 1024 * 1024 * 1024
    code_bytes: Annotated[
        int, Meta(ge=0, description="Bytes that a module may have; larger ones go to the next engine.")
    ] = 4 * 1024 * 1024
    optimize: Annotated[bool, Meta(description="Off: compiles faster, and the code runs slower.")] = True

    def __post_init__(self) -> None:
        for digest in self.trusted:
            if not _DIGEST.fullmatch(digest) and not _NAME.fullmatch(digest):
                raise ValueError(
                    f"expected SHA-256 in 64 hex digits (sha256sum FILE), or the name of a module, found {digest!r}"
                )
