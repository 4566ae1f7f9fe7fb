"""MixRT as an interpreter of the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mix_rt.instance import wasm
from mix_rt.machine import CodeMachine
from mix_rt.qcode import Code
from mixkit.contracts import Instance

__all__ = ["MixRT"]


class MixRT:
    """Runs QCode. An entry is an export that the container's manifest names."""

    name = "mixrt"
    magic = b"QCOD"

    def module(self) -> bytes:
        return wasm()

    def read(self, code: bytes) -> Code:
        return Code.from_bytes(code)

    def manifest(self, code: Code) -> Mapping[str, Any]:
        return code.manifest

    def machine(self, instance: Instance, code: Code) -> CodeMachine:
        return CodeMachine(instance, code)
