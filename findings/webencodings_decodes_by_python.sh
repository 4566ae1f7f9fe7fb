#!/usr/bin/env bash
# webencodings 0.6.1 finds an encoding by the labels of the WHATWG's Encoding Standard and decodes it with Python's codec
# of a like name, whose table is another: https://encoding.spec.whatwg.org/#indexes
# Seen: byte 80 of gbk is U+FFFD (the standard: U+20AC); byte AE of koi8-u is U+255D (the standard: U+045E); byte 81 of
# windows-1252 is U+FFFD (the standard: U+0081).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check webencodings==0.6.1
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import webencodings

print("webencodings", webencodings.VERSION, "Python", sys.version.split()[0])
SEEN = {("gbk", b"\x80"): ("\ufffd", "\u20ac"), ("koi8-u", b"\xae"): ("\u255d", "\u045e"), ("latin1", b"\x81"): ("\ufffd", "\x81")}
for (label, octets), (seen, standard) in SEEN.items():
    text, encoding = webencodings.decode(octets, label)
    print(f"{label} ({encoding.name}) {octets.hex()}: U+{ord(text):04X}, the standard says U+{ord(standard):04X}")
    assert text == seen, "it has changed"
PYTHON
