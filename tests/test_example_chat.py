"""examples/chat: a guest that follows a real WebSocket server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mix_db import Database
from mix_wasm.build import build
from mix_wasm.inspect import inspect
from websockets.sync.server import ServerConnection, serve

from mixkit import Kernel, MixError
from mixkit.grants import Grants
from mixkit.package import build as package_build
from mixkit.schema_text import parse_params
from mixkit.storage import Place
from mixkit.vm.program import Program

CHAT = Path(__file__).parents[1] / "examples" / "chat"
PROFILE = """
plugins = ["wasmtime", "db", "ws"]
engines = ["wasmtime"]
storage = "mixquery"
[settings.ws]
dangerous_ws_mode = true
"""
SAID: list[str | bytes] = ["hello", "Grüße", b"\x00picture", "", "bye"]
PATIENCE = 40
"""Seconds that a run may wait for what is on its way."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    profile = tmp_path_factory.mktemp("profile") / "chat.toml"
    profile.write_text(PROFILE)
    with Kernel(profile) as kernel:
        yield kernel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CHAT, tmp_path_factory.mktemp("build") / "chat.wasm")


@pytest.fixture(scope="module")
def program(kernel: Kernel, built: Path) -> Program:
    return kernel.load(built)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("first", "chat", tmp_path)


@pytest.fixture(scope="module")
def feed() -> Iterator[str]:
    """Rooms: `all` says everything and ends, `open` stays; others are echoed, and stay."""

    def handler(connection: ServerConnection) -> None:
        room = connection.recv()
        for message in SAID if room in ("all", "open") else [room]:
            connection.send(message)
        if room == "all":
            connection.close(4001, "good night")
        else:
            for _ in connection:
                pass

    with serve(handler, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        finally:
            server.shutdown()
            thread.join()


def _kept(place: Place) -> list[str]:
    with Database(place.home / "v2") as database:
        return sorted(record["text"] for record in database.query('_rmx_type == "chat_message"'))


@pytest.mark.parametrize(
    ("params", "answer"),
    [
        (
            {"hello": "all", "seconds": PATIENCE},
            {"kept": 4, "skipped": 1, "end": "closed", "code": 4001},
        ),
        (
            {"hello": "open", "count": 5, "seconds": PATIENCE},
            {"kept": 4, "skipped": 1, "end": "count", "code": None},
        ),
    ],
)
def test_it_keeps_what_the_feed_says(
    kernel: Kernel, program: Program, place: Place, feed: str, params: Any, answer: Any
) -> None:
    assert kernel.run_sync(program, "follow", {"url": feed, **params}, place=place).value == answer
    assert _kept(place) == sorted(text for text in SAID if isinstance(text, str))


def test_it_says_hello(kernel: Kernel, program: Program, place: Place, feed: str) -> None:
    params = {"url": feed, "hello": "Zoë", "count": 1, "seconds": PATIENCE}
    assert kernel.run_sync(program, "follow", params, place=place).value["kept"] == 1
    assert _kept(place) == ["Zoë"]


def test_it_leaves_a_silent_feed(kernel: Kernel, program: Program, place: Place, feed: str) -> None:
    answer = kernel.run_sync(program, "follow", {"url": feed, "seconds": 0.2}, place=place).value
    assert answer == {"kept": 0, "skipped": 0, "end": "time", "code": None}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"count": 0}, "count: expected 1 to 10000"),
        ({"count": 10_001}, "count: expected 1 to 10000"),
        ({"seconds": 50.1}, "seconds: expected 0 to 50"),
        ({}, "connect"),
    ],
)
def test_refuses(kernel: Kernel, program: Program, place: Place, params: Any, message: str) -> None:
    with pytest.raises(MixError, match=message):
        kernel.run_sync(program, "follow", {"url": "ws://127.0.0.1:1/", **params}, place=place)


def test_grants_narrow_it_to_a_feed(kernel: Kernel, program: Program, place: Place, feed: str) -> None:
    grants = Grants(["$ws_*", "$db_save_one"], {"ws.hosts": ["feed.example.com"]})
    with pytest.raises(MixError, match="granted hosts do not include it"):
        kernel.run_sync(program, "follow", {"url": feed}, place=place, grants=grants)


def test_the_manifests_of_guest_and_package_agree(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "chat"
    (folder / "build").mkdir(parents=True)
    (folder / "build" / "chat.wasm").write_bytes(built.read_bytes())
    (folder / "manifest.json").write_bytes((CHAT / "manifest.json").read_bytes())
    assert package_build.build(folder).startswith(b"PK")
    assert built.stat().st_size < 32 * 1024

    found = inspect(built.read_bytes()).manifest
    package = json.loads((CHAT / "manifest.json").read_text())
    assert found is not None and found.grants is not None
    assert found.grants.patterns() == [package["grants"]["ffis"]]
    agents = package["apps"]["chat"]["agents"]
    assert {name: parse_params(spec["inParams"]) for name, spec in agents.items()} == {
        entry.name: entry.params for entry in found.entries.values()
    }
