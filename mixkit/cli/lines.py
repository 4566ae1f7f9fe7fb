"""Lines of the sources in backtraces of code that was built with debug information, for whoever runs it by hand.

A server does not look them up: the information is as much a stranger's as the code.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixkit.cli.output import safe
from mixkit.errors import RunError

if TYPE_CHECKING:
    from elftools.dwarf.lineprogram import LineProgram

__all__ = ["REMEDY", "add_lines", "add_source"]

REMEDY = "pip install 'mix-wasm[build]'"
"""What brings the reader of debug information."""

_OFFSET = re.compile(r" at 0x([0-9a-f]{1,8})$")
_PLACE = re.compile(r"\(([^\s()]+\.mix):([1-9][0-9]{0,6}):([1-9][0-9]{0,6})\)")
_CODE = 10
_SECONDS = 10.0
_MOST_BYTES = 512 * 1024
"""Time for all line programs, and size of one, which takes some hundred times as much memory: a stranger wrote them."""


def add_lines(error: RunError, code: bytes) -> None:
    """Put file and line behind each frame of a run of the code of which they are known."""
    found = dict(zip(error.backtrace, located(code, error.backtrace), strict=True))
    message = str(error)
    for frame, line in found.items():
        # The message names the innermost frame.
        message = message.replace(f", in {frame}", f", in {line}", 1) if line != frame else message
    error.args = (message,)
    error.backtrace = [found[frame] for frame in error.backtrace]


def add_source(error: RunError, folder: Path) -> None:
    """Put the line of the source under the innermost frame that is in a file of the folder."""
    for index, frame in enumerate(error.backtrace):
        match = _PLACE.search(frame)
        path = folder / match[1] if match is not None else folder
        if match is None or path.parent != folder or not path.is_file():
            continue
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        number, column = int(match[2]), int(match[3])
        if number <= len(lines):
            line = safe(lines[number - 1].expandtabs(1))
            gutter = " " * len(match[2])
            error.backtrace[index] += (
                f"\n        {match[2]} | {line}\n        {gutter} | {' ' * (column - 1)}^"
            )
        return


def located(code: bytes, frames: Sequence[str]) -> list[str]:
    """The frames, as `deep at 0x193 (agent.c:3)` where the code says so; unchanged without debug information."""
    if not code.startswith(b"\0asm"):
        # Code of an interpreter, which knows its places itself.
        return list(frames)
    from mixkit.vm import wasm

    module = wasm.read(code)
    begin = next((begin for number, _, begin, _ in module.sections if number == _CODE), None)
    if begin is None or not module.custom_sections(".debug_line"):
        return list(frames)
    # What the information calls an address counts from the beginning of the functions.
    offsets = [int(match[1], 16) - begin if (match := _OFFSET.search(frame)) else None for frame in frames]
    try:
        lines = _lines(module.customs, {offset for offset in offsets if offset is not None})
    except ImportError:
        return [f"{frames[0]} (for its line: {REMEDY})", *frames[1:]] if frames else []
    except Exception:
        # Made by a compiler that the reader does not know, or by somebody to harm it.
        return list(frames)
    return [
        f"{frame} ({lines[offset]})" if offset in lines else frame
        for frame, offset in zip(frames, offsets, strict=True)
    ]


def _lines(customs: Sequence[tuple[str, bytes]], wanted: set[int]) -> dict[int | None, str]:
    """File and line of each address that has one."""
    found: dict[int | None, str] = {}
    for program in _programs(customs):
        before: Any = None
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            if before is not None and not before.end_sequence:
                for address in [a for a in wanted if before.address <= a < state.address]:
                    # Line 0 is what the compiler made up.
                    if before.line:
                        found.setdefault(address, f"{_file(program, before.file)}:{before.line}")
            before = state
        if len(found) == len(wanted):
            break
    return found


def _programs(customs: Sequence[tuple[str, bytes]]) -> Iterator[LineProgram]:
    import inspect

    from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo

    contents = dict(customs)
    sections: dict[str, Any] = {}
    for parameter in inspect.signature(DWARFInfo).parameters:
        if parameter.endswith("_sec"):
            name = f".{parameter.removesuffix('_sec')}"
            data = contents.get(name)
            sections[parameter] = data and DebugSectionDescriptor(io.BytesIO(data), name, 0, len(data), 0)
    info = DWARFInfo(DwarfConfig(little_endian=True, machine_arch="wasm", default_address_size=4), **sections)
    seen: set[int] = set()
    ends = time.monotonic() + _SECONDS
    for unit in info.iter_CUs():
        program = info.line_program_for_CU(unit)
        if program is None or program.program_start_offset in seen:
            continue
        seen.add(program.program_start_offset)
        if program.header["unit_length"] <= _MOST_BYTES and time.monotonic() < ends:
            yield program


def _file(program: LineProgram, number: int) -> str:
    """Name of a file of a line program; files count from 1 before version 5 of the format."""
    header = program.header
    entry = header["file_entry"][number - (header["version"] < 5)]
    name: bytes = entry.name
    return name.decode("utf-8", "replace")
