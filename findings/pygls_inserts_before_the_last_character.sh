#!/usr/bin/env bash
# pygls 2.1.1: a position behind the end of a line means its end (LSP 3.17, Position: "defaults back to the line length").
# On the last line of a document that does not end with a line feed it is taken for one character less, so the server's
# text differs from the editor's from then on. The other lines are right.
# Seen: "one\ntwo", inserting Z at 1:99 gives "one\ntwZo"; at 0:99 it gives "oneZ\ntwo".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pygls==2.1.1 lsprotocol==2025.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from lsprotocol.types import Position, Range, TextDocumentContentChangePartial
from pygls.workspace import TextDocument


def inserted(line, character):
    document = TextDocument("file:///a.txt", "one\ntwo")
    place = Position(line, character)
    document.apply_change(TextDocumentContentChangePartial(range=Range(place, place), text="Z"))
    return document.source


print("pygls", version("pygls"))
for line, character in ((0, 99), (1, 3), (1, 99)):
    print(f"{line}:{character}", repr(inserted(line, character)))
assert inserted(0, 99) == "oneZ\ntwo" and inserted(1, 3) == "one\ntwoZ", "it has changed"
assert inserted(1, 99) == "one\ntwZo", "it has changed"
PYTHON
