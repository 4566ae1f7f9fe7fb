"""examples/notes: the guest in C and the program in Python, which keep the same notes in the same database."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from mix_db import Database
from mix_wasm.build import build
from mix_wasm.inspect import inspect

from mixkit import Kernel, MixError, Ref
from mixkit.grants import Grants
from mixkit.package import build as package_build
from mixkit.schema_text import parse_params
from mixkit.storage import Place
from mixkit.vm.program import Program

NOTES = Path(__file__).parents[1] / "examples" / "notes"
PROFILE = """
plugins = ["wasmtime", "db"]
engines = ["wasmtime"]
storage = "mixquery"
"""

pytestmark = pytest.mark.slow

Call = Callable[..., Any]


def _module() -> Any:
    spec = spec_from_file_location("example_notes", NOTES / "notes.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


notes = _module()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    profile = tmp_path_factory.mktemp("profile") / "notes.toml"
    profile.write_text(PROFILE)
    with Kernel(profile) as kernel:
        yield kernel


@pytest.fixture(scope="module")
def program(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return kernel.load(build(NOTES, tmp_path_factory.mktemp("build") / "notes.wasm"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("first", "notes", tmp_path)


@pytest.fixture
def guest(kernel: Kernel, program: Program, place: Place) -> Call:
    def call(entry: str, **params: Any) -> Any:
        return kernel.run_sync(program, entry, params, place=place).value

    return call


@pytest.fixture
def python(place: Place) -> Iterator[Call]:
    with Database(place.home / "v2") as database:
        shelf = notes.Notes(database)

        def call(entry: str, **params: Any) -> Any:
            return getattr(shelf, entry)(**params)

        yield call


@pytest.fixture(params=["guest", "python"])
def call(request: pytest.FixtureRequest) -> Call:
    found: Call = request.getfixturevalue(request.param)
    return found


def _titles(found: list[dict[str, Any]]) -> list[str]:
    return [note["title"] for note in found]


def _kept(call: Call) -> dict[str, Any]:
    """Three notes, of which each is newer than the one before; answers the first."""
    first: dict[str, Any] = call("add", title="Milk", text="Buy milk & BREAD", tags=["shop", "today", "shop"])
    for title, text, tags in (("Grüße", "an Zoë schreiben", []), ("Bread", "bake bread", ["today"])):
        time.sleep(0.003)
        call("add", title=title, text=text, tags=tags)
    return first


def test_a_note_is_answered_as_it_is_kept(call: Call) -> None:
    note = call("add", title="Milk", text="Buy milk", tags=["shop", "shop"])
    assert isinstance(note["id"], Ref)
    assert note == {"id": note["id"], "title": "Milk", "text": "Buy milk", "tags": ["shop"]}
    assert call("search") == [note]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["Bread", "Grüße", "Milk"]),
        ({"words": "bread"}, ["Bread", "Milk"]),
        ({"words": "BREAD, bread!"}, ["Bread", "Milk"]),
        ({"words": "milk bread"}, ["Milk"]),
        ({"words": "brea"}, []),
        ({"words": "grüße"}, ["Grüße"]),
        ({"words": "bread", "tags": ["today", "shop"]}, ["Milk"]),
        ({"tags": ["today"]}, ["Bread", "Milk"]),
        ({"tags": ["today"], "limit": 1}, ["Bread"]),
        ({"tags": ['" or true or "']}, []),
        ({"words": "x" * 65}, ["Bread", "Grüße", "Milk"]),
    ],
)
def test_search(call: Call, asked: dict[str, Any], found: list[str]) -> None:
    _kept(call)
    assert _titles(call("search", **asked)) == found


def test_tags_are_given_and_taken_and_the_past_stays(call: Call, place: Place) -> None:
    first = _kept(call)
    changed = call("tag", id=first["id"], add=["cheap", "today", "cheap"], remove=["shop", "none"])
    assert changed == {**first, "tags": ["today", "cheap"]}
    assert _titles(call("search", tags=["cheap"])) == ["Milk"]
    assert call("search", tags=["shop"]) == []
    with Database(place.home / "v2") as database:
        assert [version["tags"] for version in database.history(first["id"])] == [
            ["shop", "today"],
            ["today", "cheap"],
        ]


def test_summary(call: Call) -> None:
    assert call("summary") == {"notes": 0, "words": None, "tags": {}, "newest": []}
    _kept(call)
    assert call("summary") == {
        "notes": 3,
        "words": (3 + 4 + 2) / 3,
        "tags": {"shop": 1, "today": 2},
        "newest": ["Bread", "Grüße", "Milk"],
    }


def test_more_notes_than_one_batch(call: Call) -> None:
    for number in range(230):
        call("add", title=f"number {number}", text="one of many", tags=["many", str(number % 2)])
    assert len(call("search", words="many", limit=1000)) == 230
    assert call("summary")["tags"] == {"0": 115, "1": 115, "many": 230}


def test_each_finds_what_the_other_has_kept(guest: Call, python: Call) -> None:
    mine, theirs = _kept(guest), python("add", title="Stamps", text="for Zoë", tags=["shop"])
    assert python("tag", id=mine["id"], add=["seen"])["tags"] == ["shop", "today", "seen"]
    assert guest("tag", id=theirs["id"], add=["seen"])["tags"] == ["shop", "seen"]
    for asked in ({}, {"words": "zoë"}, {"tags": ["seen", "shop"]}, {"words": "bread", "limit": 1}):
        assert guest("search", **asked) == python("search", **asked)
    assert guest("summary") == python("summary")


TEXTS = [
    "",
    "a",
    "A b a B",
    "it's-a_test 1.5",
    "é É ß \u00a0 x\u2003y",
    "😀 ok 😀",
    "w" * 64 + " " + "w" * 65,
    "\0a\0b",
]


def test_both_split_texts_alike(guest: Call, python: Call, place: Place) -> None:
    for text in TEXTS:
        guest("add", title="t", text=text)
        python("add", title="t", text=text)
    with Database(place.home / "v2") as database:
        kept = [(row["words"], row["size"]) for row in database.query('_rmx_type == "note"')]
    assert kept[::2] == kept[1::2]
    assert kept[4] == (["a", "b", "t"], 3)


# -- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "params", "message"),
    [
        ("add", {"title": "", "text": "x" * 65_537}, "at most 65536 bytes"),
        ("add", {"title": "", "text": "", "tags": [str(i) for i in range(101)]}, "at most 100"),
        ("search", {"limit": 0}, "limit: expected 1 to 1000"),
        ("search", {"words": " ".join(map(str, range(101)))}, "at most 100"),
        ("tag", {"id": Ref("0" * 32)}, "no such note"),
        ("tag", {"id": "0" * 32}, "id"),
    ],
)
def test_guest_refuses(guest: Call, entry: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(MixError, match=message):
        guest(entry, **params)


def test_guest_sees_no_record_that_is_no_note(guest: Call, place: Place) -> None:
    guest("add", title="Milk", text="")
    with Database(place.home / "v2") as database:
        other = database.save({"_rmx_type": "secret", "words": ["milk"], "tags": ["x"], "created": 0})
    with pytest.raises(MixError, match="no such note"):
        guest("tag", id=other["_rmx_id"], add=["y"])
    assert _titles(guest("search", words="milk")) == ["Milk"]
    assert guest("summary")["notes"] == 1


def test_guest_has_only_the_powers_that_it_asks_for(kernel: Kernel, program: Program, place: Place) -> None:
    with pytest.raises(MixError, match=r"\$db_save_one"):
        kernel.run_sync(
            program, "add", {"title": "", "text": ""}, place=place, grants=Grants(["$db_get_one"])
        )


# -- the package, and the command ---------------------------------------------------------------------------


def test_it_makes_a_package_whose_manifest_is_that_of_the_guest(tmp_path: Path) -> None:
    guest = build(NOTES, tmp_path / "notes" / "build" / "notes.wasm")
    (tmp_path / "notes" / "manifest.json").write_bytes((NOTES / "manifest.json").read_bytes())
    assert package_build.build(tmp_path / "notes").startswith(b"PK")
    assert guest.stat().st_size < 40 * 1024

    found = inspect(guest.read_bytes()).manifest
    package = json.loads((NOTES / "manifest.json").read_text())
    assert found is not None and found.grants is not None
    assert found.grants.patterns() == [sorted(package["grants"]["ffis"])]
    agents = package["apps"]["notes"]["agents"]
    assert {name: parse_params(spec["inParams"]) for name, spec in agents.items()} == {
        entry.name: entry.params for entry in found.entries.values()
    }


def test_the_program_from_a_shell(tmp_path: Path) -> None:
    def run(*args: str) -> Any:
        command = [sys.executable, str(NOTES / "notes.py"), "shelf", *args]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return json.loads(done.stdout)

    added = run("add", "Milk", "Buy milk", "--tag", "shop")
    assert run("search", "buy", "milk", "--tag", "shop") == [added]
    run("tag", added["id"]["_rmx_value"], "--add", "today", "--remove", "shop")
    assert run("summary") == {"notes": 1, "words": 2.0, "tags": {"today": 1}, "newest": ["Milk"]}
