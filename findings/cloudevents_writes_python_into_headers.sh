#!/usr/bin/env bash
# cloudevents 2.2.0: in the binary mode of HTTP, attributes are texts of CloudEvents 1.0.2 (2.4: booleans are true or
# false, bytes are Base64), and data of application/json is JSON (3.1.1 of its HTTP binding). Extensions that are
# booleans or bytes are written as Python writes them, and so is data that is True or False: it is read again as a
# text.
# Seen: ce-flag: True, ce-raw: b'ab', the body False; the structured mode has true and false, and raises for bytes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cloudevents==2.2.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
from importlib.metadata import version

from cloudevents.core.bindings.http import from_binary_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

print("cloudevents", version("cloudevents"))
attributes = {"id": "1", "source": "/s", "type": "t", "specversion": "1.0", "datacontenttype": "application/json"}
event = CloudEvent(attributes={**attributes, "flag": True}, data=False)
binary, structured = to_binary_event(event), json.loads(to_structured_event(event).body)
raw = CloudEvent(attributes={**attributes, "raw": b"ab"}, data=1)
header = to_binary_event(raw).headers["ce-raw"]
read = from_binary_event(binary)
print("binary:", binary.headers["ce-flag"], binary.body, header, "read again:", repr(read.get_data()))
print("structured:", structured["flag"], structured["data"])
assert (binary.headers["ce-flag"], binary.body, header) == ("True", b"False", "b'ab'"), "it has changed"
assert read.get_data() == "False" and (structured["flag"], structured["data"]) == (True, False), "it has changed"
try:
    to_structured_event(raw)
    raise SystemExit("it has changed")
except TypeError as exc:
    print("structured:", exc)
PYTHON
