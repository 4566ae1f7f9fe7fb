#!/usr/bin/env bash
# opentelemetry-api 1.45.2: W3C Baggage writes values with percent-encoding (2.2.2: %20 for a space, a plus is
# itself), and lets properties follow behind a semicolon. The propagator reads and writes the encoding of forms: a
# plus comes in as a space, a space goes out as a plus, and so do those of others that are passed on. Properties
# become part of the value, and go on as such.
# Seen: a=1+1 is "1 1"; DF%2028 goes on as DF+28, which other readers take as it stands; a=1;p=2 goes on as
# a=1%3Bp%3D2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-api==1.45.2
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator

print("opentelemetry-api", version("opentelemetry-api"))
propagator = W3CBaggagePropagator()
seen = {}
for header in ("a=1+1", "a=DF%2028", "a=1;p=2"):
    context, carrier = propagator.extract({"baggage": header}), {}
    propagator.inject(carrier, context)
    seen[header] = (baggage.get_baggage("a", context), carrier["baggage"])
    print(header, "is", *map(repr, seen[header]))
assert seen == {
    "a=1+1": ("1 1", "a=1+1"),
    "a=DF%2028": ("DF 28", "a=DF+28"),
    "a=1;p=2": ("1;p=2", "a=1%3Bp%3D2"),
}, "it has changed"
PYTHON
