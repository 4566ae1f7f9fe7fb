"""The original's earlier packages: what becomes of them, and what is said of the rest."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from mixkit import tagged_json
from mixkit.cli import main
from mixkit.errors import PackageError
from mixkit.package import Package
from mixkit.package.archive import Archive
from mixkit.package.earlier import Earlier
from mixkit.value import Ref

LOGO = b"\x89PNG"
DIGEST = hashlib.sha256(LOGO).hexdigest()

RECORD = {
    "_rmx_id": "{ref}abc",
    "_rmx_type": "person",
    "_rmx_created_at": "2020-01-31T12:00:00Z",
    "_rmx_previous": "{ref}older",
    "name": "Ada",
    "boss": "{ref}def",
    "list": [{"to": "{ref}ghi"}, 1.5, b"raw", None],
}


def earlier(**changes: Any) -> bytes:
    """Such a package with the apps `My App` and `plain`. A keyword with a `/` or a dot is an entry, None for none."""
    entries: dict[str, Any] = {
        "manifest.json": {
            "apps": {"My App": True, "plain": True},
            "records": {"plain": ["abc"]},
            "setup": ["init"],
            "metadata": {"navigate": "home", "record_counts": {"plain": 1}, "projects": []},
        },
        "records.mp": msgpack.packb({"plain": [RECORD]}),
        "apps/My App.mp": msgpack.packb([{"_rmx_id": "xyz", "title": "Screen", "_rmx_rev": "3"}]),
        "apps/My App/runtime.json": {"dbName": "x", "settings": {"colour": "blue"}, "styles": {"a": 1}},
        "apps/My App/resources.json": {
            "logo.png": {"public": True, "identifier": DIGEST, "bundled": True},
            "away.png": {"public": False, "identifier": "0" * 64, "bundled": False},
        },
        f"apps/My App/public/{DIGEST}.png": LOGO,
        "apps/My App/libraries/executable_cross.WASM": b"\0asm",
        "notes.txt": b"?",
    } | changes
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            if content is not None:
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                archive.writestr(zipfile.ZipInfo(name), data)
    # The original's entries have the date 0000 of DOS, which is none.
    return out.getvalue().replace(b"\x00\x00\x21\x00", b"\x00\x00\x00\x00")


def read(data: bytes) -> Earlier:
    return Earlier(Archive(data))


def test_records_files_and_settings_come_along() -> None:
    found = read(earlier())
    package = Package.open(found.convert("old"))
    assert (package.manifest.kind, list(package.manifest.apps)) == ("workspace", ["My_App", "plain"])
    [person] = [tagged_json.loads(line) for line in package.lines("records/plain.ndjson")]
    assert person == {
        "_rmx_id": Ref("abc"),
        "_rmx_type": "person",
        "rmx_created_at": "2020-01-31T12:00:00Z",
        "rmx_previous": Ref("older"),
        "name": "Ada",
        "boss": Ref("def"),
        "list": [{"to": Ref("ghi")}, 1.5, b"raw", None],
    }
    [screen] = [tagged_json.loads(line) for line in package.lines("records/My_App.ndjson")]
    assert screen == {"_rmx_id": Ref("xyz"), "title": "Screen", "rmx_rev": "3"}
    assert package.archive.read("files/My_App/public/logo.png") == LOGO
    assert package.settings == {"My_App": {"colour": "blue"}}
    assert found.left == [
        "the name 'My App' of an app, which is 'My_App' now",
        'setup ["init"], which is code',
        'metadata.navigate "home"',
        "My_App: styles, which are for screens",
        "My_App: file 'away.png', whose bytes are not in the package",
        "My_App: apps/My App/libraries/executable_cross.WASM, which is code for another machine",
        "notes.txt",
    ]


def test_names_that_a_file_cannot_have_are_others() -> None:
    said = {"a:b": {"public": False, "identifier": f"{DIGEST}.png"}}
    found = read(earlier(**{"apps/My App/resources.json": said}))
    assert found.apps["My_App"].files == {f"/{DIGEST}.png": f"apps/My App/public/{DIGEST}.png"}
    assert any("the name 'a:b' of a file" in line for line in found.left)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"manifest.json": {"format": 3}}, "manifest.json: expected a manifest of the earlier format"),
        ({"manifest.json": None}, "manifest.json: expected a manifest"),
        ({"records.mp": b"\xc1"}, "records.mp: expected MessagePack"),
        ({"records.mp": msgpack.packb([1])}, "records.mp: expected a map from apps"),
        ({"records.mp": msgpack.packb({"other": []})}, "records.mp: it has records of the app 'other'"),
        ({"records.mp": msgpack.packb({"plain": [1]})}, r"records.mp: plain: \$\[0\]: expected a record"),
        ({"records.mp": msgpack.packb({"plain": [{"n": 1 << 63}]})}, "expected an integer of 64 bits"),
        ({"records.mp": msgpack.packb({"plain": [{"n": {1: 2}}]})}, "expected texts as names"),
        ({"records.mp": msgpack.packb({"plain": [{"n": msgpack.ExtType(9, b"")}]})}, "found ExtType"),
        ({"apps/plain.mp": msgpack.packb({})}, "apps/plain.mp: expected an array of records"),
        ({"apps/plain/runtime.json": b"["}, "apps/plain/runtime.json: "),
        ({"apps/plain/resources.json": {"a": 1}}, "apps/plain/resources.json: expected an object for 'a'"),
        ({f"apps/My App/public/{DIGEST}.png": b"other"}, "expected bytes with the SHA-256"),
    ],
    ids=range(13),
)
def test_what_is_wrong_is_said_with_where(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(PackageError, match=expected):
        read(earlier(**changes))


def test_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old.remix").write_bytes(earlier())

    def run(*words: str, fails: int = 0) -> str:
        status = main(words)
        out, err = capsys.readouterr()
        assert status == fails, (out, err)
        return err if fails else out

    assert run("remix", "inspect", "old.remix").startswith("format\tearlier; `mixkit remix convert OLD NEW`")
    assert json.loads(run("remix", "inspect", "old.remix", "--json"))["format"] == "earlier"
    assert "executable_cross.WASM" in run("remix", "convert", "old.remix", "new.remix")
    done = json.loads(run("remix", "convert", "old.remix", "new.remix", "--json"))
    assert [(app["app"], app["records"]) for app in done["apps"]] == [("My_App", 1), ("plain", 1)]
    assert "package of the earlier format" in run("remix", "install", "old.remix", "--ws", "w", "-y", fails=1)
    assert "expected a package of the earlier format" in run("remix", "convert", "new.remix", "x", fails=1)
    run("remix", "install", "new.remix", "--ws", "w", "--yes")
    # The same ids are the same records.
    run("remix", "install", "new.remix", "--ws", "w", "--yes", "--force")
    assert run("app", "list", "w").startswith("w\tMy_App\tnew\t1.0")
