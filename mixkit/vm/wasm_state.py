"""Where the code of a module can leave traces that no engine can read back or restore.

Memories and mutable globals of numbers can be saved and restored. Tables, dropped segments and globals that
hold references cannot, in full, through any engine's interface. So it is decided once, from the code, whether
a module can ever change such state; one that can gets a fresh instance for every run. Exceptions leave no traces:
the reader refuses globals and tables that hold them.
"""

from __future__ import annotations

from typing import Final

from mixkit.vm.wasm import WasmModule
from mixkit.vm.wasm_code import CODE, bodies, notable

__all__ = ["is_restorable"]

_HARMLESS: Final = frozenset({0xFC08, 0xFC0A, 0xFC0B, 0xFC10})
"""memory.init, memory.copy, memory.fill, table.size."""


def is_restorable(module: WasmModule) -> bool:
    """Whether memories and numeric globals are all the state that the module's code can change.

    The module must be valid. What is not known for certain answers False.
    """
    if any(variable.mutable and variable.type == "funcref" for variable in module.globals):
        return False
    code = module.section(CODE)
    return not any(
        # A body has one instruction at least, its end: locals of types that are not known were before it.
        at == end or any(which not in _HARMLESS for which, *_ in notable(code, at, end))
        for _, at, end in bodies(code)
    )
