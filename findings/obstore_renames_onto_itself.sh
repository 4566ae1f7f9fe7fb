#!/usr/bin/env bash
# obstore 0.12.1: renaming an object to the name that it has deletes it in a MemoryStore and leaves it alone in a
# LocalStore, where copying it onto itself leaves a second file beside it for ever, which no list shows.
# Seen: FileNotFoundError in memory, b'kept' on disk, and 'a#0' in the folder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check obstore==0.12.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import os, tempfile
import obstore
from obstore.store import LocalStore, MemoryStore

print("obstore", obstore.__version__)
memory, folder = MemoryStore(), tempfile.mkdtemp()
for store in (memory, LocalStore(folder)):
    obstore.put(store, "a", b"kept")
    obstore.rename(store, "a", "a")
    try:
        seen = bytes(obstore.get(store, "a").bytes())
    except FileNotFoundError as exc:
        seen = type(exc).__name__
    print(type(store).__name__, "after a rename onto itself:", seen)
    assert seen == ("FileNotFoundError" if store is memory else b"kept"), "it has changed"
local = LocalStore(folder)
obstore.copy(local, "a", "a")
names = sorted(os.listdir(folder))
listed = [found["path"] for batch in obstore.list(local) for found in batch]
print("LocalStore after a copy onto itself: files", names, "listed", listed)
assert names == ["a", "a#0"] and listed == ["a"], "it has changed"
PYTHON
