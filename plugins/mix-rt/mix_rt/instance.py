"""The machine in an engine: one function of one instance carries all its words."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mix_rt.errors import QCodeError
from mix_rt.vm import Virtual
from mixkit.contracts import Instance
from mixkit.errors import GuestError

__all__ = ["virtual", "wasm"]

_WASM: Final = Path(__file__).with_name("mixrt.wasm")


def wasm() -> bytes:
    """The module, which imports nothing."""
    return _WASM.read_bytes()


def virtual(instance: Instance) -> Virtual:
    """The machine that an instance of the module is."""

    def step(command: bytes) -> bytes:
        try:
            return instance.call_bytes("mix_step", command)
        except GuestError as exc:
            if exc.trap is None:
                # The one thing of its interface that can fail: there is no room for the command.
                raise QCodeError("out of memory") from None
            raise

    return Virtual(step)
