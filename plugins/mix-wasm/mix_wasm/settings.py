"""Settings of the plugin, `[settings.wasm]` in a profile."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

__all__ = ["WasmSettings"]

MIB = 1024 * 1024


class WasmSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What agents may load and run beside their own code; all of it is under the limits of the run, too."""

    of_project: ClassVar = (
        "module_bytes",
        "loads",
        "compiling",
        "output_bytes",
    )

    module_bytes: Annotated[int, Meta(ge=8, description="Bytes of a module that an agent loads.")] = 16 * MIB
    loads: Annotated[int, Meta(ge=0, description="Modules that one run may load, one after the other.")] = 32
    compiling: Annotated[
        int,
        Meta(ge=1, description="Modules of agents that are compiled at once; others wait, within their run."),
    ] = 2
    output_bytes: Annotated[
        int, Meta(ge=0, description="Bytes that a WASI program may write to stdout and stderr together.")
    ] = 1 * MIB
