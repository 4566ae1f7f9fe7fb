"""Names of functions, from the custom section that compilers write for debuggers."""

from __future__ import annotations

from functools import cached_property
from typing import Final

from mixkit.errors import EngineError
from mixkit.vm.demangle import demangled
from mixkit.vm.wasm_reader import Reader

__all__ = ["Names"]

_FUNCTIONS: Final = 1
_LONGEST: Final = 1_000


class Names:
    """What functions are called, by index. The section is read when it is first asked for.

    Args:
        sections: contents of the custom sections called `name`.
        count: functions of the module; those behind them are ours.
    """

    def __init__(self, sections: tuple[bytes, ...], count: int) -> None:
        self._sections = sections
        self._count = count

    def __call__(self, index: int) -> str:
        """The name for people, or `function 7`; empty for a function that is not the module's."""
        if index >= self._count:
            return ""
        name = self._names.get(index)
        return demangled(name)[:_LONGEST] if name else f"function {index}"

    @cached_property
    def _names(self) -> dict[int, str]:
        found: dict[int, str] = {}
        for section in self._sections:
            try:
                _read(section, found)
            except EngineError:
                # Nothing depends on the section, and a damaged one makes no module invalid.
                continue
        return found


def _read(section: bytes, found: dict[int, str]) -> None:
    reader = Reader(section, 0, len(section))
    while reader.at < reader.end:
        number, size = reader.byte(), reader.u32()
        if number != _FUNCTIONS:
            reader.take(size)
            continue
        for _ in range(reader.count("functions")):
            index = reader.u32()
            found[index] = reader.name()
