"""Writes what is generated from mixrt/opcodes.toml and mixrt/builtins.toml; with --check says whether it is up to date.

    python scripts/qcode.py [--check]

That is the list for C (mixrt/opcodes.h, mixrt/builtins.h), for Python (mix_rt/opcodes.py), and the tables of
docs/qcode.md.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPCODES = ROOT / "mixrt" / "opcodes.toml"
BUILTINS = ROOT / "mixrt" / "builtins.toml"
PAGE = ROOT / "docs" / "qcode.md"

KINDS = {
    "out": 1,
    "in": 1,
    "inout": 1,
    "call": 1,
    "first": 1,
    "count": 1,
    "const": 1,
    "string": 1,
    "keys": 1,
    "func": 1,
    "int": 1,
    "jump": 1,
    "capture": 1,
    "slot": 1,
    "literal": 1,
    "kind": 1,
    "builtin": 1,
    "ffi": 1,
    "CONST": 2,
    "FUNC": 2,
    "INT": 2,
    "JUMP": 2,
    "global": 2,
}
"""The kinds of operands, and how many of the 16-bit fields each takes."""


def opcodes() -> dict[str, tuple[list[tuple[str, str]], str]]:
    """Name to (operand names and kinds, prose), in the order of their numbers.

    Raises:
        SystemExit: the list breaks its own rules.
    """
    result = {}
    for name, (operands, prose) in tomllib.loads(OPCODES.read_text())["opcodes"].items():
        pairs = [
            (part.split(":")[0], part.split(":")[1] if ":" in part else "out") for part in operands.split()
        ]
        for operand, kind in pairs:
            if kind not in KINDS:
                raise SystemExit(f"{OPCODES.name}: {name}: operand {operand} is of the unknown kind {kind!r}")
        width = sum(KINDS[kind] for _, kind in pairs)
        wide = [index for index, (_, kind) in enumerate(pairs) if KINDS[kind] == 2]
        if width > 3 or (wide and wide != [len(pairs) - 1]):
            raise SystemExit(f"{OPCODES.name}: {name}: three fields, and a wide operand is the last")
        result[name] = (pairs, prose)
    return result


def builtins() -> dict[str, tuple[list[str], str]]:
    """Name to (parameters, prose), in the order of their numbers."""
    listed = tomllib.loads(BUILTINS.read_text())["builtins"]
    return {name: (parameters.split(), prose) for name, (parameters, prose) in listed.items()}


def fields(pairs: list[tuple[str, str]]) -> list[str]:
    """The kinds of fields a, b and c; a wide one stands in b, and c is "wide"."""
    kinds = [kind for _, kind in pairs]
    if kinds and KINDS[kinds[-1]] == 2:
        return [*kinds[:-1], *["none"] * (2 - len(kinds)), kinds[-1], "wide"]
    return [*kinds, *["none"] * (3 - len(kinds))]


def c_kind(kind: str) -> str:
    """The name that C gives to a kind: `const` and `CONST` would be one otherwise."""
    return f"OPERAND_WIDE_{kind}" if kind.isupper() else f"OPERAND_{kind.upper()}"


def c_header() -> str:
    lines = [
        "/* Written by scripts/qcode.py from opcodes.toml: OPCODE(NAME, name, kind of a, of b, of c). */",
        "#define OPCODES(OPCODE) \\",
    ]
    for name, (pairs, _) in opcodes().items():
        kinds = ", ".join(c_kind(kind) for kind in fields(pairs))
        lines.append(f'    OPCODE({name.upper()}, "{name}", {kinds}) \\')
    return "\n".join(lines)[:-2] + "\n"


def c_builtins() -> str:
    lines = [
        "/* Written by scripts/qcode.py from builtins.toml: BUILTIN(name, number of parameters, names and kinds). */",
        "#define BUILTINS(BUILTIN) \\",
    ]
    for name, (parameters, _) in builtins().items():
        lines.append(f'    BUILTIN({name}, {len(parameters)}, "{" ".join(parameters)}") \\')
    return "\n".join(lines)[:-2] + "\n"


def python_table() -> str:
    lines = [
        '"""Written by scripts/qcode.py from the lists in mixrt: the instructions and built-ins."""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Final",
        "",
        '__all__ = ["BUILTINS", "OPCODES"]',
        "",
        "OPCODES: Final[dict[str, str]] = {",
        *(
            f'    "{name}": "{" ".join(f"{operand}:{kind}" for operand, kind in pairs)}",'
            for name, (pairs, _) in opcodes().items()
        ),
        "}",
        '"""Name to its operands, each `name:kind`, in the order of the opcodes\' numbers."""',
        "",
        "BUILTINS: Final[dict[str, str]] = {",
        *(f'    "{name}": "{" ".join(parameters)}",' for name, (parameters, _) in builtins().items()),
        "}",
        '"""Name to its parameters, in the order of the built-ins\' numbers."""',
        "",
    ]
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its tables renewed."""
    rows = ["| number | instruction | fields | what it does |", "|---|---|---|---|"]
    for number, (name, (pairs, prose)) in enumerate(opcodes().items()):
        shown = " ".join(f"{operand}:{kind}" for operand, kind in pairs)
        rows.append(f"| {number} | `{name}` | {shown} | {prose.replace('|', chr(92) + '|')} |")
    text = between(text, "opcodes", rows)
    rows = ["| number | built-in | parameters | what it does |", "|---|---|---|---|"]
    for number, (name, (parameters, prose)) in enumerate(builtins().items()):
        rows.append(f"| {number} | `{name}` | {' '.join(parameters)} | {prose.replace('|', chr(92) + '|')} |")
    return between(text, "builtins", rows)


def between(text: str, name: str, rows: list[str]) -> str:
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, rest = text.split(start)
    return before + start + "\n".join(rows) + "\n" + end + rest.split(end)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if something is out of date"
    )
    check = parser.parse_args().check
    written = {
        ROOT / "mixrt" / "opcodes.h": c_header(),
        ROOT / "mixrt" / "builtins.h": c_builtins(),
        ROOT / "plugins" / "mix-rt" / "mix_rt" / "opcodes.py": python_table(),
        PAGE: page(PAGE.read_text()),
    }
    stale = [path for path, text in written.items() if not path.exists() or path.read_text() != text]
    if check and stale:
        sys.exit(f"{', '.join(path.name for path in stale)}: out of date; run python scripts/qcode.py")
    for path in stale:
        path.write_text(written[path])


if __name__ == "__main__":
    main()
