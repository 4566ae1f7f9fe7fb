"""`$mqtt_publish` from 8 guests in C at once beside aiomqtt with 8 tasks: messages of QoS 1 a second to mosquitto, from
Debian's package of that name, on loopback.

    python benchmarks/bench_mqtt.py [--json] [--repeats N]

The contenders take turns, all of one table comes from one run. `ratio` is over aiomqtt.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiomqtt
from loopback import medians
from mix_mqtt.bus import BrokerBus
from mix_mqtt.settings import MqttSettings
from mix_wasm.build import build

from mixkit import Kernel
from mixkit.grants import ALL

RUNS = 8
MESSAGES = 500
PAYLOAD = b"x" * 100
GUEST = """
#include "mix.h"

static mix_value publish(mix_value params) {
    mix_value topic = mix_get(params, "topic"), payload = mix_get(params, "payload");
    int64_t left = mix_as_int(mix_get(params, "messages"), 0);
    while (left-- > 0) mix_ffi("$mqtt_publish", topic, payload);
    mix_out out = {0};
    mix_put_int(&out, 0);
    return mix_done(&out);
}
MIX_ENTRY("publish", publish)
"""


@contextmanager
def broker(folder: str) -> Iterator[int]:
    """mosquitto on a free port of loopback."""
    program = shutil.which("mosquitto", path="/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin")
    if program is None:
        print("skipped: there is no mosquitto; Debian's package of that name has it")
        raise SystemExit
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    config = Path(folder) / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type none\n")
    process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


async def measure(folder: str, port: int, repeats: int) -> dict[str, float]:
    (Path(folder) / "publish.c").write_text(GUEST)
    code = build(Path(folder) / "publish.c", Path(folder) / "publish.wasm")
    overrides = {
        "settings.mqtt.broker": f"mqtt://127.0.0.1:{port}",
        "settings.mqtt.dangerous_mqtt_mode": True,
        "limits.host_calls": 1_000_000,
    }
    bus = BrokerBus(MqttSettings(broker=f"mqtt://127.0.0.1:{port}", dangerous_mqtt_mode=True))
    with Kernel("all", overrides=overrides) as kernel:
        program = kernel.load(code)

        async def guests() -> None:
            params = {"topic": "bench/a", "payload": PAYLOAD, "messages": MESSAGES}
            await asyncio.gather(*(kernel.run(program, "publish", params, grants=ALL) for _ in range(RUNS)))

        async def tasks() -> None:
            async def publish() -> None:
                for _ in range(MESSAGES):
                    await bus.publish("bench/a", PAYLOAD)

            await asyncio.gather(*(publish() for _ in range(RUNS)))

        async def by_aiomqtt() -> None:
            async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:

                async def publish() -> None:
                    for _ in range(MESSAGES):
                        await client.publish("bench/a", PAYLOAD, qos=1)

                await asyncio.gather(*(publish() for _ in range(RUNS)))

        contenders: dict[str, Callable[[], Awaitable[None]]] = {
            "aiomqtt, 8 tasks": by_aiomqtt,
            "our bus, 8 tasks": tasks,
            "8 guests": guests,
        }
        taken = await medians(contenders, repeats)
    await bus.close()
    return {name: RUNS * MESSAGES / seconds for name, seconds in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, broker(folder) as port:
        result = asyncio.run(measure(folder, port, options.repeats))
    if options.json:
        print(json.dumps(result))
        return
    print(f"messages of {len(PAYLOAD)} bytes a second, QoS 1")
    for name, value in result.items():
        print(f"  {name:17} {value:8.0f}   ratio {value / result['aiomqtt, 8 tasks']:.2f}")


if __name__ == "__main__":
    main()
