"""examples/telemetry: readings from the bus inside the process, summed up by SQL, kept as records."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mix_db import Database
from mix_wasm.build import build
from mix_wasm.inspect import inspect

from mixkit import Kernel, MixError
from mixkit.ffi_call import call_ffi
from mixkit.package import build as package_build
from mixkit.schema_text import parse_params
from mixkit.storage import Place
from mixkit.vm.program import Program

TELEMETRY = Path(__file__).parents[1] / "examples" / "telemetry"
PROFILE = """
plugins = ["wasmtime", "db", "duckdb", "mqtt"]
engines = ["wasmtime"]
storage = "mixquery"
"""
PATIENCE = 40.0
"""Seconds that a run may wait for messages that are on their way; none takes as long."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    profile = tmp_path_factory.mktemp("profile") / "telemetry.toml"
    profile.write_text(PROFILE)
    with Kernel(profile) as kernel:
        yield kernel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(TELEMETRY, tmp_path_factory.mktemp("build") / "telemetry.wasm")


@pytest.fixture(scope="module")
def program(kernel: Kernel, built: Path) -> Program:
    return kernel.load(built)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("first", "telemetry", tmp_path)


async def _collected(kernel: Kernel, program: Program, place: Place, messages: dict[str, Any]) -> Any:
    """What is answered by a run that takes these messages, which are retained: the bus has them when it begins."""
    for topic, payload in messages.items():
        sent = await call_ffi(kernel, "$mqtt_publish", [topic, payload, True])
        assert sent.name == "ok", sent.arg
    try:
        params = {"count": len(messages), "seconds": PATIENCE}
        return (await kernel.run(program, "collect", params, place=place)).value
    finally:
        for topic in messages:
            await call_ffi(kernel, "$mqtt_publish", [topic, "", True])


def _kept(place: Place) -> list[dict[str, Any]]:
    with Database(place.home / "v2") as database:
        found = list(database.query('_rmx_type == "sensor_summary"'))
    return sorted(found, key=lambda record: record["sensor"])


async def test_what_agents_report_is_summed_up_and_kept(
    kernel: Kernel, program: Program, place: Place
) -> None:
    params = {"count": 5, "seconds": PATIENCE}
    collecting = asyncio.create_task(kernel.run(program, "collect", params, place=place))
    while not collecting.done():  # What is reported before it has subscribed, it does not hear.
        await kernel.run(program, "report", {"sensor": "hall", "value": 0.1})
        await asyncio.sleep(0.01)
    answer = (await collecting).value
    hall = {"sensor": "hall", "readings": 5, "low": 0.1, "high": 0.1, "mean": pytest.approx(0.1)}
    assert answer == {"taken": 5, "skipped": 0, "missed": 0, "sensors": [hall]}
    (record,) = _kept(place)
    assert {**record, **hall} == record and record["at"] > 1_700_000_000_000


async def test_what_is_no_number_is_skipped(kernel: Kernel, program: Program, place: Place) -> None:
    messages = {
        "sensors/a": "20.5",
        "sensors/Zoë's": "-1e3",
        "sensors/word": "warm",
        "sensors/nan": "nan",
        "sensors/binary": b"1",
        "sensors/long": "1" * 41,
        "sensors/sql": "1); drop table readings",
        "sensors/" + "n" * 101: "1",
    }
    answer = await _collected(kernel, program, place, messages)
    assert (answer["taken"], answer["skipped"], answer["missed"]) == (8, 6, 0)
    expected = {"Zoë's": -1000.0, "a": 20.5}
    assert {row["sensor"]: row["mean"] for row in answer["sensors"]} == expected
    assert {record["sensor"]: record["low"] for record in _kept(place)} == expected


async def test_only_what_is_no_number(kernel: Kernel, program: Program, place: Place) -> None:
    answer = await _collected(kernel, program, place, {"sensors/word": "warm"})
    assert answer == {"taken": 1, "skipped": 1, "missed": 0, "sensors": []}


async def test_as_many_sensors_as_it_takes_readings(kernel: Kernel, program: Program, place: Place) -> None:
    messages = {f"sensors/{number}": str(number) for number in range(1000)}
    answer = await _collected(kernel, program, place, messages)
    assert {int(row["sensor"]): row["high"] for row in answer["sensors"]} == {n: n for n in range(1000)}
    assert len(_kept(place)) == 1000


def test_no_reading_in_time(kernel: Kernel, program: Program, place: Place) -> None:
    answer = kernel.run_sync(program, "collect", {"seconds": 0.05}, place=place).value
    assert answer == {"taken": 0, "skipped": 0, "missed": 0, "sensors": []}


@pytest.mark.parametrize(
    ("entry", "params", "message"),
    [
        ("collect", {"count": 0}, "count: expected 1 to 1000"),
        ("collect", {"count": 1001}, "count: expected 1 to 1000"),
        ("collect", {"seconds": -1}, "seconds: expected 0 to 50"),
        ("collect", {"seconds": float("nan")}, "seconds: expected 0 to 50"),
        ("report", {"sensor": "a/b", "value": 1}, "is not granted"),
        ("report", {"sensor": "", "value": 1}, "sensor: expected a name"),
    ],
)
def test_refuses(kernel: Kernel, program: Program, entry: str, params: Any, message: str) -> None:
    with pytest.raises(MixError, match=message):
        kernel.run_sync(program, entry, params)


def test_the_manifests_of_guest_and_package_agree(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "telemetry"
    (folder / "build").mkdir(parents=True)
    (folder / "build" / "telemetry.wasm").write_bytes(built.read_bytes())
    (folder / "manifest.json").write_bytes((TELEMETRY / "manifest.json").read_bytes())
    assert package_build.build(folder).startswith(b"PK")

    found = inspect(built.read_bytes()).manifest
    package = json.loads((TELEMETRY / "manifest.json").read_text())
    assert found is not None and found.grants is not None
    assert found.grants.patterns() == [package["grants"]["ffis"]]
    for name, value in package["grants"]["options"].items():
        assert list(found.grants.option(name)) == [value]
    agents = package["apps"]["telemetry"]["agents"]
    assert {name: parse_params(spec["inParams"]) for name, spec in agents.items()} == {
        entry.name: entry.params for entry in found.entries.values()
    }
