#!/usr/bin/env bash
# aiomqtt 2.5.1: `Topic.matches` lets a wildcard at the start match a topic that begins with `$`, which a broker never
# delivers for it (MQTT 5, 4.7.2) and paho's own matcher refuses: who subscribes to `#` and to `$SYS/#` and tells messages
# apart with `matches` takes the broker's own for the application's.
# Seen: `#` and `+/uptime` match `$SYS/uptime` in aiomqtt, in paho they do not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiomqtt==2.5.1 paho-mqtt==2.2.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from aiomqtt import Topic
from paho.mqtt.client import topic_matches_sub

print("aiomqtt", version("aiomqtt"), "paho-mqtt", version("paho-mqtt"))
for pattern in ("#", "+/uptime"):
    theirs, pahos = Topic("$SYS/uptime").matches(pattern), topic_matches_sub(pattern, "$SYS/uptime")
    print(f"{pattern!r} takes '$SYS/uptime': aiomqtt {theirs}, paho {pahos}")
    assert theirs is True and pahos is False, "it has changed"
assert Topic("house/uptime").matches("+/uptime") and topic_matches_sub("+/uptime", "house/uptime"), "it has changed"
PYTHON
