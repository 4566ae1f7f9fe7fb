#!/usr/bin/env bash
# paho-mqtt 2.2.0: `message_callback_add` takes the filter of a shared subscription ($share/GROUP/FILTER, MQTT 5, section
# 4.8.2), but compares it with the topics of messages, which never begin so: the callback is not called. `topic_matches_sub`
# says the same.
# Seen: no callback for a/b with $share/group/a/+, one for a/+.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check paho-mqtt==2.2.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version
import paho.mqtt.client as mqtt

print("paho-mqtt", version("paho-mqtt"))
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
called = []
client.message_callback_add("$share/group/a/+", lambda *_: called.append("shared"))
client.message_callback_add("a/+", lambda *_: called.append("plain"))
client._handle_on_message(mqtt.MQTTMessage(topic=b"a/b"))
print("called:", called, "matches:", mqtt.topic_matches_sub("$share/group/a/+", "a/b"))
assert called == ["plain"] and not mqtt.topic_matches_sub("$share/group/a/+", "a/b"), "it has changed"
PYTHON
