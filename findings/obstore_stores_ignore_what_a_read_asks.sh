#!/usr/bin/env bash
# obstore 0.12.1: a read may ask for no content (`head`) or for one version of the object (`version`); MemoryStore and
# LocalStore take both options and give the whole newest content all the same, where LocalStore refuses by name what it
# cannot do when writing (attributes, updates).
# Seen: b'second' for `head=True` and for a version that never was, in both stores.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check obstore==0.12.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import tempfile

import obstore
from obstore.store import LocalStore, MemoryStore

print("obstore", obstore.__version__)
for store in (MemoryStore(), LocalStore(tempfile.mkdtemp())):
    obstore.put(store, "a", b"first")
    obstore.put(store, "a", b"second")
    head = bytes(obstore.get(store, "a", options={"head": True}).bytes())
    version = bytes(obstore.get(store, "a", options={"version": "no such version"}).bytes())
    print(type(store).__name__, "head:", head, "version:", version)
    assert head == version == b"second", "it has changed"
PYTHON
