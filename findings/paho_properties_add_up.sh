#!/usr/bin/env bash
# paho-mqtt 2.2.0: assigning `UserProperty` (or `SubscriptionIdentifier`) of MQTT 5's properties adds to what is there. Who
# sets a value anew for each message sends all of the former ones too, and assigning a value to itself doubles it.
# Seen: two assignments, two pairs in the packet.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check paho-mqtt==2.2.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

print("paho-mqtt", version("paho-mqtt"))
properties = Properties(PacketTypes.PUBLISH)
properties.UserProperty = ("trace", "1")
properties.UserProperty = ("trace", "2")
properties.ContentType = "a/b"
properties.ContentType = "c/d"
print(properties.UserProperty, properties.ContentType)
assert properties.UserProperty == [("trace", "1"), ("trace", "2")] and properties.ContentType == "c/d", "it has changed"
properties.UserProperty = properties.UserProperty
print("after assigning it to itself:", len(properties.UserProperty))
assert len(properties.UserProperty) == 4, "it has changed"
PYTHON
