#!/usr/bin/env bash
# rumqttd as iotcore 0.4.0 brings it, paho-mqtt 2.2.0: who subscribes again to a filter, as a client that wants the retained
# messages once more does, is acknowledged and gets none (MQTT 5, 3.8.4: they are sent again unless Retain Handling says no).
# Seen: the retained message at the first subscription, nothing at the second; a new client gets it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check iotcore==0.4.0 paho-mqtt==2.2.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import pathlib, socket, subprocess, sys, time
from importlib.metadata import version

import paho.mqtt.client as mqtt

print("iotcore", version("iotcore"), "paho-mqtt", version("paho-mqtt"))
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
pathlib.Path("broker.toml").write_text(f"""id = 0
[router]
id = 0
max_connections = 10
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = 10
[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 20480
max_inflight_count = 100
""")
broker = subprocess.Popen(
    [sys.executable, "-m", "iotcore", "--config", "broker.toml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)


def until(what):
    ends = time.monotonic() + 10
    while not what():
        assert time.monotonic() < ends, "it has changed, or the machine is very slow"
        time.sleep(0.02)


class Client:
    def __init__(self, name):
        self.got, self.acknowledged = [], 0
        self.mqtt = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self.mqtt.on_message = lambda client, data, message: self.got.append(message.payload)
        self.mqtt.on_subscribe = self.mqtt.on_publish = self.count
        self.mqtt.connect("127.0.0.1", port)
        self.mqtt.loop_start()
        until(self.mqtt.is_connected)

    def count(self, *args):
        self.acknowledged += 1

    def do(self, function, *args, **options):
        """Call, and wait for the acknowledgement."""
        before = self.acknowledged
        function(*args, **options)
        until(lambda: self.acknowledged > before)


try:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    one = Client("one")
    one.do(one.mqtt.publish, "shelf/top", b"tea", qos=1, retain=True)
    one.do(one.mqtt.subscribe, "shelf/top", qos=1)
    until(lambda: one.got)
    one.do(one.mqtt.subscribe, "shelf/top", qos=1)
    two = Client("two")
    two.do(two.mqtt.subscribe, "shelf/top", qos=1)
    until(lambda: two.got)
    time.sleep(1)
    print("subscribed twice:", one.got, "subscribed later:", two.got)
    assert one.got == two.got == [b"tea"], "it has changed"
finally:
    broker.kill()
    broker.wait()
PYTHON
