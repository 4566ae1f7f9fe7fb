"""Writes mixrt/case_table.h: upper case, lower case and case folding of Unicode, from Python's own tables.

    python scripts/case_table.py

Not part of any check: the tables are those of the Python version that ran it, which the header names.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "mixrt" / "case_table.h"


def runs(convert: Callable[[str], str]) -> Iterator[tuple[int, int, int, int]]:
    """(first, last, step, distance) of characters that become one other, in ascending order."""
    open_run: list[int] | None = None
    for code in range(0x80, 0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        to = convert(chr(code))
        distance = ord(to) - code if len(to) == 1 else 0
        if distance == 0:
            continue
        if open_run is not None and open_run[3] == distance:
            step = code - open_run[1]
            if step <= 2 and open_run[2] in (0, step):
                open_run[1], open_run[2] = code, step
                continue
        if open_run is not None:
            yield (open_run[0], open_run[1], open_run[2] or 1, open_run[3])
        open_run = [code, code, 0, distance]
    if open_run is not None:
        yield (open_run[0], open_run[1], open_run[2] or 1, open_run[3])


def several(convert: Callable[[str], str]) -> Iterator[tuple[int, ...]]:
    """(character, up to three that it becomes)."""
    for code in range(0x80, 0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        to = convert(chr(code))
        if len(to) > 1:
            yield (code, *map(ord, to), *[0] * (3 - len(to)))


def main() -> None:
    lines = [f"/* Written by scripts/case_table.py from Unicode {unicodedata.unidata_version}. */"]
    for name, convert in (("upper", str.upper), ("lower", str.lower), ("fold", str.casefold)):
        lines.append(f"static const struct case_run {name}_runs[] = {{")
        lines += [
            f"    {{0x{first:X}, 0x{last:X}, {step}, {far}}}," for first, last, step, far in runs(convert)
        ]
        lines.append("};")
        lines.append(f"static const struct case_several {name}_several[] = {{")
        for code, *to in several(convert):
            lines.append(f"    {{0x{code:X}, {{{', '.join(f'0x{one:X}' for one in to)}}}}},")
        lines.append("};")
    OUT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
