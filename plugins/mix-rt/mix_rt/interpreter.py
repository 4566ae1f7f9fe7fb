"""MixRT as an interpreter of the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mix_rt.errors import QCodeError
from mix_rt.instance import wasm
from mix_rt.machine import CodeMachine
from mix_rt.qcode import LIBRARY, Code, symbolised
from mixkit.contracts import Instance

__all__ = ["MixRT"]


class MixRT:
    """Runs QCode. An entry is an export that the container's manifest names."""

    name = "mixrt"
    magic = b"QCOD"

    def module(self) -> bytes:
        return wasm()

    def read(self, code: bytes) -> Code:
        """`QCodeError` of what is malformed, and of a library, which does not run by itself."""
        read = Code.from_bytes(code)
        if read.kind == LIBRARY:
            raise QCodeError(
                "expected an executable (.mixexe), found a library (.mixlib): "
                "link it with mixkit compile SOURCE --link FILE"
            )
        return read

    def places(self, code: Code, frame: str) -> list[str]:
        return symbolised(code, frame)

    def manifest(self, code: Code) -> Mapping[str, Any]:
        return code.manifest

    def machine(self, instance: Instance, code: Code) -> CodeMachine:
        return CodeMachine(instance, code)
