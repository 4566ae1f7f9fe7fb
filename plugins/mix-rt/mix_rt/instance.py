"""The machine in an engine: one function of one instance carries all its words."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mix_rt.vm import Virtual
from mixkit.contracts import Instance

__all__ = ["virtual", "wasm"]

_WASM: Final = Path(__file__).with_name("mixrt.wasm")


def wasm() -> bytes:
    """The module, which imports nothing."""
    return _WASM.read_bytes()


def virtual(instance: Instance) -> Virtual:
    """The machine that an instance of the module is."""
    return Virtual(lambda command: instance.call_bytes("mix_step", command))
