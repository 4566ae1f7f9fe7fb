#!/usr/bin/env bash
# pygls 2.1.1: lines of a document end with LF, CR LF or CR (LSP 3.17, Text Documents). The server's document is cut
# wherever str.splitlines cuts, at a form feed too, as sources in C and Lisp have between sections. So an edit goes to
# another line than the editor's, and the two texts differ from then on.
# Seen: after a form feed in line 0 an edit of line 1 changes what follows the form feed.
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

document = TextDocument("file:///a.c", "one\f/* two */\nint three;\nint four;\n")
change = Range(Position(1, 0), Position(1, 3))
document.apply_change(TextDocumentContentChangePartial(range=change, text="long"))
print("pygls", version("pygls"))
print(repr(document.source))
assert document.source == "one\flongtwo */\nint three;\nint four;\n", "it has changed"
PYTHON
