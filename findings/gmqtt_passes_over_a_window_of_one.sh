#!/usr/bin/env bash
# gmqtt 0.8.0: a broker that says Receive Maximum 1 (MQTT 5, 3.2.2.3.3: so many messages of QoS 1 and 2 may be on
# their way) is taken to have said nothing; 2 is heeded (and lets one through). Such brokers are gateways of small
# devices, for which it is a fault that ends the connection.
# Seen: three messages without one acknowledgement.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gmqtt==0.8.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import logging
from importlib.metadata import version

import gmqtt

logging.disable()


async def on_their_way(window):
    """How many messages of QoS 1 arrive at a broker that acknowledges none."""
    arrived = 0

    async def broker(reader, writer):
        nonlocal arrived
        while header := await reader.read(1):
            size = shift = 0
            while True:
                (byte,) = await reader.readexactly(1)
                size, shift = size | (byte & 127) << shift, shift + 7
                if byte < 128:
                    break
            await reader.readexactly(size)
            kind = header[0] >> 4
            if kind == 1:  # CONNECT: CONNACK with the property 33
                writer.write(bytes([0x20, 6, 0, 0, 3, 33, 0, window]))
            arrived += kind == 3
        writer.close()

    server = await asyncio.start_server(broker, "127.0.0.1", 0)
    client = gmqtt.Client("window")
    await client.connect("127.0.0.1", server.sockets[0].getsockname()[1], version=5)
    for number in range(3):
        try:
            client.publish("topic", str(number), qos=1)
        except OverflowError:
            break
        await asyncio.sleep(0.2)
    return arrived


async def main():
    print("gmqtt", version("gmqtt"))
    seen = {window: await asyncio.wait_for(on_their_way(window), 30) for window in (1, 2)}
    print("Receive Maximum: messages on their way", seen)
    assert seen[1] == 3 and seen[2] < 3, "it has changed"


asyncio.run(main())
PYTHON
