"""From a folder to a signed package, and what differs between two."""

from __future__ import annotations

import builtins
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mixkit.errors import PackageError
from mixkit.package import Package, powers
from mixkit.package.build import build, pack, sign
from mixkit.package.diff import diff
from mixkit.package.manifest import GrantsSpec
from mixkit.package.signature import make_key, public_key, signed_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "build").mkdir(parents=True)
    (source / "build" / "a.wasm").write_bytes(b"wasm")
    (source / "README.md").write_text("stays out")
    write(source)
    return source


def write(folder: Path, **changes: Any) -> None:
    manifest = {"format": 3, "name": "demo", "version": "1.0", "kind": "app"}
    apps = {"demo": {"agents": {"main": {"code": "build/a.wasm"}}}}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "apps": apps, **changes}))


def test_build(folder: Path) -> None:
    (folder / "files" / "demo" / "sub").mkdir(parents=True)
    (folder / "files" / "demo" / "sub" / "logo").write_bytes(b"logo")
    (folder / "runtime.json").write_text('{"a": 1}')
    package = Package.open(build(folder))
    assert list(package.digests) == [
        "code/demo/a.wasm",
        "files/demo/sub/logo",
        "manifest.json",
        "runtime.json",
    ]
    assert package.manifest.apps["demo"].agents["main"].code == "code/demo/a.wasm"
    assert package.settings == {"demo": {"a": 1}}


def test_equal_folders_make_equal_bytes(folder: Path, tmp_path: Path) -> None:
    (folder / "files" / "demo").mkdir(parents=True)
    other = tmp_path / "other"
    for root in (folder, other):
        (root / "files" / "demo").mkdir(parents=True, exist_ok=True)
        for name in ("b", "a", "c") if root == folder else ("c", "b", "a"):
            (root / "files" / "demo" / name).write_text(name)
    (other / "build").mkdir()
    (other / "build" / "a.wasm").write_bytes(b"wasm")
    (other / "build" / "a.wasm").chmod(0o700)
    os.utime(other / "build" / "a.wasm", (1, 1))
    write(other)
    assert build(folder) == build(other)


def test_what_cannot_be_built(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (folder / "link").symlink_to(secret)
    for code, match in (
        ("../secret", "the name of the entry"),
        (str(secret), "the name of the entry"),
        ("link", "not a file of the folder"),
        ("missing", "not a file of the folder"),
    ):
        write(folder, apps={"demo": {"agents": {"main": {"code": code}}}})
        with pytest.raises(PackageError, match=match):
            build(folder)
    write(folder)
    (folder / "files" / "demo").mkdir(parents=True)
    (folder / "files" / "demo" / "x").symlink_to(secret)
    with pytest.raises(PackageError, match="found a link"):
        build(folder)
    (folder / "files" / "demo" / "x").unlink()
    (folder / "files" / "demo" / "x").symlink_to(tmp_path)
    with pytest.raises(PackageError, match="found a link"):
        build(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(PackageError, match="found none"):
        build(folder)


def test_two_files_of_one_name(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "a.wasm").write_bytes(b"another")
    agents = {"one": {"code": "build/a.wasm"}, "two": {"code": "build/a.wasm"}}
    write(folder, apps={"demo": {"agents": agents}})
    assert len(Package.open(build(folder)).digests) == 2
    write(folder, apps={"demo": {"agents": {**agents, "three": {"code": "other/a.wasm"}}}})
    with pytest.raises(PackageError, match="two files would become the entry code/demo/a"):
        build(folder)


def changed(packed: bytes, path: str, data: bytes | None) -> bytes:
    """The package with one entry replaced, added, or left out."""
    archive = Package.open(packed).archive
    entries = {name: archive.read(name) for name in archive.entries}
    if data is None:
        del entries[path]
    else:
        entries[path] = data
    return pack({name: lambda data=data: data for name, data in entries.items()})  # type: ignore[misc]


class TestSignature:
    def test_sign_and_verify(self, folder: Path) -> None:
        private, public = make_key()
        packed = build(folder, private)
        signed = Package.open(packed)
        assert signed.verify() == signed.verify([make_key()[1], public]) == public == public_key(private)
        assert signed.digest == Package.open(build(folder)).digest
        again, other = make_key()
        assert Package.open(sign(signed, again)).verify() == other
        assert Package.open(build(folder)).verify() is None

    def test_whatever_was_changed_is_seen(self, folder: Path) -> None:
        (folder / "files" / "demo").mkdir(parents=True)
        (folder / "files" / "demo" / "x").write_bytes(b"x")
        packed = build(folder, make_key()[0])
        manifest = Package.open(packed).archive.read("manifest.json")
        for path, data in (
            ("code/demo/a.wasm", b"WASM"),
            ("manifest.json", manifest + b" "),
            ("files/demo/x", None),
            ("files/demo/y", b""),
            ("runtime.json", b"{}"),
        ):
            with pytest.raises(PackageError, match="does not fit"):
                Package.open(changed(packed, path, data)).verify()
        # How it is packed does not count.
        assert Package.open(changed(packed, "files/demo/x", b"x")).verify()

    def test_another_key_in_its_place(self, folder: Path) -> None:
        (private, public), (theirs, _) = make_key(), make_key()
        good = json.loads(Package.open(build(folder, private)).archive.read("SIGNATURE"))
        evil = json.loads(Package.open(build(folder, theirs)).archive.read("SIGNATURE"))
        packed = build(folder, private)
        mixed = json.dumps({**evil, "key": good["key"]}).encode()
        with pytest.raises(PackageError, match="does not fit"):
            Package.open(changed(packed, "SIGNATURE", mixed)).verify([public])
        with pytest.raises(PackageError, match="not among the trusted"):
            Package.open(changed(packed, "SIGNATURE", json.dumps(evil).encode())).verify([public])
        with pytest.raises(PackageError, match="not signed"):
            Package.open(changed(packed, "SIGNATURE", None)).verify([public])
        with pytest.raises(PackageError, match="not among the trusted"):
            Package.open(packed).verify([])

    @pytest.mark.parametrize(
        "change",
        [
            {"version": 2},
            {"key": "AAAA"},
            {"key": "!"},
            {"signature": ""},
            {"extra": 1},
            {"signature": "A" * 85 + "B=="},
            {"key": "A" * 43 + "=\n"},
        ],
    )
    def test_signatures_that_are_none(self, folder: Path, change: dict[str, Any]) -> None:
        packed = build(folder, make_key()[0])
        document = json.loads(Package.open(packed).archive.read("SIGNATURE"))
        with pytest.raises(PackageError, match="SIGNATURE"):
            Package.open(changed(packed, "SIGNATURE", json.dumps({**document, **change}).encode()))

    def test_keys_that_are_none(self, folder: Path) -> None:
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric import ec

        other = ec.generate_private_key(ec.SECP256R1())
        pem = other.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        for key in (b"", b"nonsense", pem, make_key()[0][:60]):
            with pytest.raises(PackageError, match=r"expected an .*Ed25519 private key"):
                build(folder, key)
        with pytest.raises(PackageError, match="a trusted key"):
            Package.open(build(folder, make_key()[0])).verify(["nonsense"])

    def test_without_the_library(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        signed = Package.open(build(folder, make_key()[0]))
        real = builtins.__import__

        def missing(name: str, *args: Any) -> Any:
            if name.startswith("cryptography"):
                raise ImportError(name)
            return real(name, *args)

        monkeypatch.setattr(builtins, "__import__", missing)
        with pytest.raises(PackageError, match=r"pip install 'mixkit\[sign\]'"):
            signed.verify()

    def test_the_signed_text(self) -> None:
        """The format itself: other implementations must make the same."""
        digests = {"manifest.json": "11", "code/ä": "22", "code/z": "33", "SIGNATURE": "44"}
        expected = "mixkit package 3\n33  code/z\n22  code/ä\n11  manifest.json\n"
        assert signed_text(digests).decode() == expected


@pytest.mark.parametrize(
    ("old", "new", "widened", "narrowed"),
    [
        (["$a"], ["$a"], [], []),
        (["$a"], ["$a", "$b"], ["$b"], []),
        (["$a", "$b"], ["$a"], [], ["$b"]),
        (["$db_*"], ["$db_get"], [], ["$db_*"]),
        (["$db_get"], ["$db_*"], ["$db_*"], []),
        (["$db_*"], ["$db_get_*", "$db_x"], [], ["$db_*"]),
        (["$db_get_*"], ["$db_*"], ["$db_*"], []),
        (["*"], ["$http_*"], [], ["*"]),
        (["$a*"], ["*"], ["*"], []),
        (["$a"], ["$a*"], ["$a*"], []),
    ],
)
def test_powers_of_ffis(old: list[str], new: list[str], widened: list[str], narrowed: list[str]) -> None:
    change = powers.compare(GrantsSpec(ffis=old), GrantsSpec(ffis=new))
    assert (list(change.widened), list(change.narrowed)) == (widened, narrowed)


@pytest.mark.parametrize(
    ("old", "new", "widened", "narrowed"),
    [
        ({}, {}, [], []),
        ({}, {"x.hosts": ["a"]}, [], ["x.hosts: any"]),
        ({"x.hosts": ["a"]}, {}, ["x.hosts: any"], []),
        ({"x.hosts": ["a"]}, {"x.hosts": ["a", "b"]}, ["x.hosts: b"], []),
        ({"x.hosts": ["a", "b"]}, {"x.hosts": ["b"]}, [], ["x.hosts: a"]),
        ({"x.size": 1}, {"x.size": 2}, ["x.size: 2"], []),
        ({"x.size": 2}, {"x.size": 1}, ["x.size: 1"], []),
    ],
)
def test_powers_of_options(
    old: dict[str, Any], new: dict[str, Any], widened: list[str], narrowed: list[str]
) -> None:
    change = powers.compare(GrantsSpec(options=old), GrantsSpec(options=new))
    assert (list(change.widened), list(change.narrowed)) == (widened, narrowed)


def test_diff(folder: Path) -> None:
    old = Package.open(build(folder))
    agents = {"main": {"code": "build/a.wasm", "description": "new"}, "more": {"code": "build/a.wasm"}}
    write(
        folder,
        version="1.1",
        apps={"demo": {"agents": agents, "widgets": {"main": {"sizes": ["small"]}}}},
        grants={"ffis": ["$a"]},
        limits={"depth": 1},
        setup="more",
    )
    (folder / "runtime.json").write_text('{"a": 1}')
    (folder / "records").mkdir()
    (folder / "records" / "demo.ndjson").write_text("{}\n{}\n")
    private, public = make_key()
    new = Package.open(build(folder, private))
    (found,) = diff({"demo": old.release("demo")}, {"demo": new.release("demo", signer=new.verify())})
    assert msgspec.to_builtins(found) == {
        "app": "demo",
        "widened": ["$a"],
        "narrowed": [],
        "signer": {"old": None, "new": public},
        "package": None,
        "version": {"old": "1.0", "new": "1.1"},
        "limits": {"depth": {"old": None, "new": 1}},
        "agents": {"added": ["more"], "removed": [], "changed": ["main"]},
        "widgets": {"added": ["main"], "removed": [], "changed": []},
        "settings": {"added": ["a"], "removed": [], "changed": []},
        "setup": {"old": None, "new": "more"},
        "records": {"old": 0, "new": 2},
        "files": {"added": ["records/demo.ndjson"], "removed": [], "changed": []},
    }
    assert diff({"demo": old.release("demo")}, {"demo": old.release("demo")}) == []


def test_new_code_is_a_changed_agent(folder: Path) -> None:
    old = Package.open(build(folder))
    (folder / "build" / "a.wasm").write_bytes(b"new code")
    new = Package.open(build(folder))
    (found,) = diff({"demo": old.release("demo")}, {"demo": new.release("demo")})
    assert found.agents.changed == ["main"]
    assert found.files.changed == ["code/demo/a.wasm"]
