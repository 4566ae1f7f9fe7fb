"""The table of the README, made from the code: `python -m mix_crypto.reference README.md`."""

from __future__ import annotations

import sys
from pathlib import Path

BEGIN = "<!-- made by python -m mix_crypto.reference -->\n"
END = "<!-- end -->\n"


def table() -> str:
    """Signature and description of each FFI, in Markdown."""
    from mix_crypto.ffis import ffis

    rows = ["| FFI | what it does |", "|---|---|"]
    for ffi in ffis:
        signature = ffi.signature.replace("|", "\\|")
        rows.append(f"| `{signature}` | {' '.join(ffi.doc.split())} |")
    return "\n".join(rows) + "\n"


def replaced(text: str) -> str:
    """The text with the table between its marks made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + table() + "\n" + END + after


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(replaced(path.read_text()))
