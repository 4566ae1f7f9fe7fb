"""Workspaces and apps as one file: what comes out goes in, whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mixkit import Kernel
from mixkit.errors import MixError, NotFound, PackageError
from mixkit.grants import Grants
from mixkit.moving.arriving import Bringing, Brought, Export
from mixkit.moving.layout import sums_of
from mixkit.moving.leaving import Leaving, export
from mixkit.package import Exists, Package, Workspace, WorkspaceStore
from mixkit.package.build import pack
from mixkit.storage import SaveOptions
from mixkit.value import Ref

MOST = 64 << 20
REF = b'{"_rmx_id": {"_rmx_type": "{tag}case:db.ref", "_rmx_value": "%s"}}\n'
BY_NAME = SaveOptions(original_id_always=True)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with Kernel("agent_server", environ={}) as kernel:
        yield kernel


@pytest.fixture
def store(kernel: Kernel, tmp_path: Path) -> WorkspaceStore:
    return WorkspaceStore(tmp_path / "store", kernel.databases, kernel.files)


def package(code: bytes, **changes: Any) -> Package:
    manifest = {
        "format": 3,
        "name": "notes",
        "version": "1.2",
        "kind": "app",
        "apps": {
            "notes": {
                "agents": {"echo": {"code": "code/notes/main.wasm"}},
                "widgets": {"echo": {"sizes": ["2x1"]}},
            }
        },
        "grants": {"ffis": ["$core_log", "$db_*"]},
    } | changes
    entries = {
        "manifest.json": json.dumps(manifest).encode(),
        "code/notes/main.wasm": code,
        "runtime.json": b'{"colour": "blue"}',
    }
    return Package.open(pack({path: partial(bytes, data) for path, data in entries.items()}))


@pytest.fixture
def workspace(kernel: Kernel, store: WorkspaceStore, guest: Callable[..., bytes]) -> Workspace:
    """Notes with a past, files, and code that has less than it asks for; and an app without anything."""
    workspace = store.create("first")
    workspace.install(package(guest()), granted=Grants(["$core_log"]))
    workspace.create_app("empty")
    place = workspace.place("notes")
    database = kernel.databases.open(place)
    database.save(
        [{"_rmx_id": "a", "n": 1, "deep": {"x": [1, 2.5, None]}}, {"_rmx_id": "b", "n": 2}], BY_NAME
    )
    database.save([{"_rmx_id": "a", "n": 3, "to": Ref("b"), "raw": b"\0\1"}], BY_NAME)
    database.save([{"_rmx_id": "c", "_rmx_type": "mixkit.query", "name": "q"}], BY_NAME)
    database.delete(["b"])
    asyncio.run(store_files(kernel, workspace, "notes", FILES))
    with workspace.writing() as own:
        grant = {
            "subject": "agent/:first.notes.echo",
            "role": "runner",
            "resource": "db/empty",
            "app": "empty",
            "by": "user/ada@example.org",
        }
        machine = grant | {"subject": f"machine/{'0' * 16}", "resource": "workspace"}
        own.save(
            [
                {"_rmx_id": "grant:1", "_rmx_type": "grant"} | grant,
                {"_rmx_id": "grant:2", "_rmx_type": "grant"} | machine,
                {"_rmx_id": "machine:1", "_rmx_type": "machine", "digest": "SECRET"},
            ],
            BY_NAME,
        )
    return workspace


FILES = {
    "/public/a.txt": (b"hello", "text/plain"),
    # Names that a zip cannot have beside each other, or not at all.
    "/public/A.TXT": (b"HELLO", "text/plain"),
    "/b:c": (b"colon", "application/x-colon"),
    "/d": (b"file", "text/plain"),
    "/d.x/e": (b"", "text/plain"),
    "/ephemeral/gone": (b"not for long", "text/plain"),
}


async def store_files(
    kernel: Kernel, workspace: Workspace, app: str, files: Mapping[str, tuple[bytes, str]]
) -> None:
    there = kernel.files.open(workspace.place(app))
    for path, (data, kind) in files.items():
        await there.put(path, data, content_type=kind, metadata={"of": path})


async def found_files(kernel: Kernel, workspace: Workspace, app: str) -> dict[str, tuple[bytes, str]]:
    there = kernel.files.open(workspace.place(app))
    found = {}
    for listed in (await there.list("/")).files:
        reading = await there.read(listed.path)
        assert reading.info.metadata == {"of": listed.path}
        found[listed.path] = (await reading.read(), reading.info.content_type or "")
        await reading.close()
    return found


def exported(kernel: Kernel, workspace: Workspace, **what: Any) -> bytes:
    async def all_of_it() -> bytes:
        return b"".join([piece async for piece in export(kernel, workspace, Leaving(**what))])

    return asyncio.run(all_of_it())


def brought(kernel: Kernel, store: WorkspaceStore, data: bytes, name: str, most: int = MOST) -> Brought:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        return Export(file, most).bring(kernel, store, name, new=name not in store.list())


def fields(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in record.items()
        if not key.startswith("_rmx_") or key in ("_rmx_id", "_rmx_type", "_rmx_deleted")
    }


def versions(kernel: Kernel, workspace: Workspace, app: str) -> list[dict[str, Any]]:
    with kernel.databases.open(workspace.place(app)).query("true", deleted=True, superseded=True) as cursor:
        return [fields(record) for record in cursor]


def changed(data: bytes, changes: Mapping[str, bytes | None], *, sums: bool = True) -> bytes:
    """The export with other contents of entries, None for no entry; with sums that fit unless it is to be told."""
    with zipfile.ZipFile(io.BytesIO(data)) as before:
        entries = {name: before.read(name) for name in before.namelist()}
    for name, content in changes.items():
        if content is None:
            del entries[name]
        else:
            entries[name] = content
    if sums:
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in entries.items() if name != "SUMS"}
        entries["SUMS"] = sums_of(digests)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as after:
        for name, content in entries.items():
            after.writestr(name, content)
    return out.getvalue()


def test_a_workspace_comes_whole(kernel: Kernel, store: WorkspaceStore, workspace: Workspace) -> None:
    data = exported(kernel, workspace)
    assert b"SECRET" not in data
    done = brought(kernel, store, data, "second")
    assert (done.workspace, done.apps, done.records, done.files) == ("second", ("empty", "notes"), 2, 5)
    assert done.left_out == {"grant": 1}
    second = store.workspace("second")
    assert second.apps() == workspace.apps()
    before, after = workspace.app("notes"), second.app("notes")
    assert after.installation == before.installation
    assert after.installation is not None
    assert after.installation.release.widgets["echo"].sizes == ["2x1"]
    assert after.installation.withheld() == ["$db_*"]
    assert after.code("echo") == before.code("echo")
    assert versions(kernel, second, "notes") == [
        each for each in versions(kernel, workspace, "notes")[2:] if "_rmx_deleted" not in each
    ]
    assert asyncio.run(found_files(kernel, second, "notes")) == {
        path: content for path, content in FILES.items() if not path.startswith("/ephemeral/")
    }
    with second.database().query('"_rmx_type" == "grant"') as cursor:
        [grant] = list(cursor)
    assert grant["subject"] == "agent/:second.notes.echo"
    assert (grant["role"], grant["resource"], grant["app"]) == ("runner", "db/empty", "empty")
    # What the package brings is there already, by its content.
    assert not second.install(package(after.code("echo"))).changed


def test_with_the_history_each_version_comes(
    kernel: Kernel, store: WorkspaceStore, workspace: Workspace
) -> None:
    data = exported(kernel, workspace, history=True)
    assert brought(kernel, store, data, "second").records == 5
    second = store.workspace("second")
    assert versions(kernel, second, "notes") == versions(kernel, workspace, "notes")
    history = kernel.databases.open(second.place("notes")).history("a")
    assert [version["n"] for version in history] == [1, 3]


def test_an_app_comes_into_a_workspace_that_has_others(
    kernel: Kernel, store: WorkspaceStore, workspace: Workspace
) -> None:
    data = exported(kernel, workspace, app="notes")
    other = store.create("other")
    other.create_app("mine")
    assert brought(kernel, store, data, "other").apps == ("notes",)
    assert other.apps() == ["mine", "notes"]
    with pytest.raises(Exists, match="has the apps notes already"):
        brought(kernel, store, data, "other")
    with pytest.raises(NotFound):
        exported(kernel, workspace, app="missing")


def test_a_workspace_comes_into_one_without_apps_only(
    kernel: Kernel, store: WorkspaceStore, workspace: Workspace
) -> None:
    data = exported(kernel, workspace)
    store.create("empty")
    assert brought(kernel, store, data, "empty").apps == ("empty", "notes")
    with pytest.raises(Exists, match="has the apps empty, notes already"):
        brought(kernel, store, data, "empty")
    with tempfile.TemporaryFile() as file:
        file.write(data)
        with pytest.raises(Exists, match="a workspace 'empty' already"):
            Export(file, MOST).bring(kernel, store, "empty")
        with pytest.raises(NotFound):
            Export(file, MOST).bring(kernel, store, "missing", new=False)
    assert brought(kernel, store, exported(kernel, store.create("none")), "new").apps == ()
    assert store.workspace("new").apps() == []


def test_others_come_in_the_same_commit(kernel: Kernel, store: WorkspaceStore, workspace: Workspace) -> None:
    owner = {"_rmx_id": "owner", "_rmx_type": "owner", "subject": "user/eve@example.org"}
    with tempfile.TemporaryFile() as file:
        file.write(exported(kernel, workspace, belongings=False))
        Export(file, MOST).bring(kernel, store, "second", Bringing(others=[owner]))
    own = store.workspace("second").database()
    assert (own.get("owner") or {})["subject"] == "user/eve@example.org"
    with own.query('"_rmx_type" == "grant"') as cursor:
        assert list(cursor) == []


def test_what_is_hostile_is_refused_by_name(
    kernel: Kernel, store: WorkspaceStore, workspace: Workspace
) -> None:
    data = exported(kernel, workspace)
    installed = json.loads(zipfile.ZipFile(io.BytesIO(data)).read("installed/notes.json"))

    said = zipfile.ZipFile(io.BytesIO(data)).read("files/notes.ndjson")

    def wrong(**changes: Any) -> dict[str, bytes]:
        release = installed["release"] | changes
        return {"installed/notes.json": json.dumps(installed | {"release": release}).encode()}

    cases: list[tuple[bytes, str]] = [
        (b"", "found an empty file"),
        (b"PK not a zip", "starts with 'PK'|does not end"),
        (data[:-1], "does not end with its end record"),
        (data + b"\0", "does not end with its end record"),
        (changed(data, {"records/notes.ndjson": REF % b"x"}, sums=False), r"records/notes\.ndjson: expected the SHA-256"),
        (changed(data, {"manifest.json": b"{"}), r"manifest\.json: expected JSON"),
        (changed(data, {"manifest.json": b'{"format": 3}'}), r"manifest\.json: this is a package and no export"),
        (changed(data, {"SUMS": None}, sums=False), "SUMS: the export has no such entry"),
        (changed(data, {"SUMS": b"mixkit package 3\nxyz\n"}, sums=False), "SUMS: line 2: expected a SHA-256"),
        (changed(data, {"records/notes.ndjson": None}, sums=False), r"records/notes\.ndjson: the export lacks"),
        (changed(data, {"code/notes/more": b"1"}), "code/notes/more: .*contradict each other"),
        (changed(data, {"code/empty/a": b"1"}), "code/empty/a: app 'empty' has code"),
        (changed(data, {"code/notes/main.wasm": b"other"}), r"code/notes/main\.wasm: expected the code with"),
        (changed(data, {"code/other/main.wasm": b"other"}), r"code/other/main\.wasm: unknown entry"),
        (changed(data, {"../up": b"1"}), r"\.\./up: the name of the entry is absolute"),
        (changed(data, {"/etc/passwd": b"1"}), "/etc/passwd: the name of the entry is absolute"),
        (changed(data, {"records/notes.ndjson": b"[1]\n"}), r"records/notes\.ndjson: line 1: expected a record"),
        (changed(data, {"records/notes.ndjson": b"{}\n"}), r"records/notes\.ndjson: line 1: expected a ref"),
        (
            changed(data, {"records/notes.ndjson": REF % b""}),
            r"records/notes\.ndjson: .*an id of 1 to",
        ),
        (changed(data, {"files/notes.ndjson": b"{}\n"}), r"files/notes\.ndjson: line 1: "),
        (changed(data, {"files/notes.ndjson": b""}), "files/notes/.*: files/notes.ndjson says nothing of"),
        # A file leads nowhere that could not have been registered.
        (
            changed(data, {"files/notes.ndjson": said.replace(b'"of":', b'"mixkit-url":')}),
            r"files/notes\.ndjson: line 1: expected an absolute URL",
        ),
        (changed(data, {"workspace.ndjson": b"[]\n"}), r"workspace\.ndjson: line 1: expected a record"),
        (
            changed(data, {"workspace.ndjson": b'{"_rmx_type": "grant", "subject": "all"}\n'}),
            r"workspace\.ndjson: a record of the type 'grant'",
        ),
        (changed(data, wrong(app="other")), r"installed/notes\.json: expected the app 'notes'"),
        (changed(data, wrong(version="new")), r"installed/notes\.json: .*one to four numbers"),
        (changed(data, wrong(grants={"ffis": ["*x"], "options": {}})), r"installed/notes\.json: "),
        (changed(data, wrong(limits={"speed": 1})), r"installed/notes\.json: "),
        (
            changed(data, wrong(grants={"ffis": [], "options": {"no.such": [1]}})),
            r"installed/notes\.json: no loaded plugin enforces",
        ),
    ]  # fmt: skip
    for bad, expected in cases:
        with pytest.raises(PackageError, match=expected):
            brought(kernel, store, bad, "second")
        assert store.list() == ["first"], expected
        assert {path.name for path in store.root.iterdir()} <= {"first", ".lock"}, expected


def test_code_that_does_not_load_is_refused(
    kernel: Kernel, store: WorkspaceStore, workspace: Workspace, guest: Callable[..., bytes]
) -> None:
    data = exported(kernel, workspace)
    code = b"\0asm broken"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        installed = json.loads(archive.read("installed/notes.json"))
    installed["release"]["entries"]["code/notes/main.wasm"] = hashlib.sha256(code).hexdigest()
    bad = changed(
        data, {"code/notes/main.wasm": code, "installed/notes.json": json.dumps(installed).encode()}
    )
    with pytest.raises(PackageError, match=r"code/notes/main\.wasm: the code of agent 'echo' cannot be used"):
        brought(kernel, store, bad, "second")
    assert store.list() == ["first"]


def test_an_export_is_bounded_before_it_is_read(
    kernel: Kernel, store: WorkspaceStore, workspace: Workspace
) -> None:
    data = exported(kernel, workspace)
    with pytest.raises(PackageError, match="an export has at most 100 bytes here"):
        brought(kernel, store, data, "second", 100)
    # It claims to become more than sixteen times what may be sent.
    bomb = changed(data, {"records/notes.ndjson": b" " * (17 * len(data))})
    small = zipfile.ZipFile(out := io.BytesIO(), "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(io.BytesIO(bomb)) as before, small:
        for name in before.namelist():
            small.writestr(name, before.read(name))
    with pytest.raises(PackageError, match=r"an entry has at most|all entries together have at most"):
        brought(kernel, store, out.getvalue(), "second", len(data))


def test_a_failed_import_leaves_an_empty_workspace_as_it_was(
    kernel: Kernel, store: WorkspaceStore, workspace: Workspace
) -> None:
    data = exported(kernel, workspace)
    target = store.create("target")
    names = {path.name for path in target.root.iterdir()}
    bad = changed(data, {"files/notes.ndjson": b""})
    with pytest.raises(PackageError):
        brought(kernel, store, bad, "target")
    assert target.apps() == []
    assert {path.name for path in target.root.iterdir()} - {".lock", ".changes"} == names - {
        ".lock",
        ".changes",
    }
    assert code_in(target) == set()
    brought(kernel, store, data, "target")


def code_in(workspace: Workspace) -> set[str]:
    """What the workspace has of code, needed or not, by its SHA-256."""
    with workspace.database().query('"_rmx_type" == "code" and exists content') as cursor:
        return {row["_rmx_id"].id.split(":")[1] for row in cursor}


@pytest.mark.parametrize("shared", [False, True])
def test_an_import_into_a_workspace_that_is_killed_leaves_no_code(
    kernel: Kernel,
    store: WorkspaceStore,
    workspace: Workspace,
    guest: Callable[..., bytes],
    tmp_path: Path,
    shared: bool,
) -> None:
    path = tmp_path / "notes.remix"
    path.write_bytes(exported(kernel, workspace, app="notes"))
    target = store.create("target")
    if shared:
        # Another app of it has the same code, and keeps it.
        agents = {"echo": {"code": "code/other/main.wasm"}}
        entries = {
            "manifest.json": json.dumps(
                {
                    "format": 3,
                    "name": "other",
                    "version": "1",
                    "kind": "app",
                    "apps": {"other": {"agents": agents}},
                }
            ).encode(),
            "code/other/main.wasm": guest(),
        }
        target.install(Package.open(pack({name: partial(bytes, data) for name, data in entries.items()})))
    before = code_in(target)
    program = """
import sys, time
from mixkit import Kernel
from mixkit.moving.arriving import Export
from mixkit.package import WorkspaceStore
from mixkit.package.book import Book
def stop(*_):
    print("all but the last commit", flush=True)
    time.sleep(60)
Book.write = stop
with Kernel("agent_server", environ={}) as kernel, open(sys.argv[1], "rb") as file:
    store = WorkspaceStore(sys.argv[2], kernel.databases, kernel.files)
    Export(file, 1 << 20).bring(kernel, store, "target", new=False)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path), str(store.root)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"all but the last commit\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    code = hashlib.sha256(guest()).hexdigest()
    assert code_in(target) == {code}
    target.create_app("empty")
    assert code_in(target) == before
    brought(kernel, store, path.read_bytes(), "target")
    assert code_in(target) == {code}
    # What it was noted with does not keep it for ever.
    target.delete_app("notes")
    assert code_in(target) == before


def test_a_killed_import_leaves_nothing(
    kernel: Kernel, store: WorkspaceStore, workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "first.remix"
    path.write_bytes(exported(kernel, workspace))
    program = """
import sys, time
from pathlib import Path
from mixkit import Kernel
from mixkit.moving.arriving import Bringing, Export
from mixkit.package import WorkspaceStore
def stop(records, size):
    print("in the middle", flush=True)
    time.sleep(60)
with Kernel("agent_server", environ={}) as kernel, open(sys.argv[1], "rb") as file:
    store = WorkspaceStore(sys.argv[2], kernel.databases, kernel.files)
    Export(file, 1 << 20).bring(kernel, store, "second", Bringing(watch=stop))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path), str(store.root)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"in the middle\n"
    # Nobody sees it, and nobody else can have the name.
    assert store.list() == ["first"]
    with pytest.raises(NotFound):
        store.workspace("second")
    with pytest.raises(Exists):
        store.create("second")
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert store.list() == ["first"]
    assert (store.root / "second").is_dir()
    store.create("third")
    assert {entry.name for entry in store.root.iterdir()} - {".lock"} == {"first", "third"}
    brought(kernel, store, path.read_bytes(), "second")
    assert store.list() == ["first", "second", "third"]


def test_one_of_two_imports_of_a_name_wins(
    kernel: Kernel, store: WorkspaceStore, workspace: Workspace
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    data = exported(kernel, workspace)

    def one(_: int) -> str:
        try:
            with tempfile.TemporaryFile() as file:
                file.write(data)
                return Export(file, MOST).bring(kernel, store, "second").workspace
        except Exists:
            return ""

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(one, range(4))) == ["", "", "", "second"]
    assert store.workspace("second").apps() == ["empty", "notes"]


def test_what_is_exported_is_of_one_moment(
    kernel: Kernel, store: WorkspaceStore, workspace: Workspace
) -> None:
    database = kernel.databases.open(workspace.place("notes"))
    database.save([{"_rmx_id": f"r{number}", "n": 0} for number in range(3_000)], BY_NAME)

    async def while_it_is_changed() -> bytes:
        pieces = []
        async for piece in export(kernel, workspace, Leaving()):
            pieces.append(piece)
            database.save([{"_rmx_id": f"r{number}", "n": 1} for number in range(3_000)], BY_NAME)
        return b"".join(pieces)

    # The first piece comes before the records are read.
    data = asyncio.run(while_it_is_changed())
    brought(kernel, store, data, "second")
    with kernel.databases.open(store.workspace("second").place("notes")).query("exists n") as cursor:
        seen = {row["n"] for row in cursor if str(row["_rmx_id"].id).startswith("r")}
    assert len(seen) == 1


def test_large_records_go_on_in_parts(
    kernel: Kernel, store: WorkspaceStore, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mixkit.moving.leaving.PART", 1_000)
    database = kernel.databases.open(workspace.place("empty"))
    database.save([{"_rmx_id": f"r{number}", "n": number} for number in range(5_000)], BY_NAME)
    data = exported(kernel, workspace)
    names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert [name for name in names if name.startswith("records/empty")][:2] == [
        "records/empty.ndjson",
        "records/empty.2.ndjson",
    ]
    brought(kernel, store, data, "second")
    assert versions(kernel, store.workspace("second"), "empty") == versions(kernel, workspace, "empty")


def test_a_reader_that_goes_away_ends_the_export(kernel: Kernel, workspace: Workspace) -> None:
    async def left() -> None:
        stream = export(kernel, workspace, Leaving())
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(left())
    began = time.monotonic()
    assert exported(kernel, workspace)
    assert time.monotonic() - began < 30


def test_an_export_has_a_number_of_entries(
    kernel: Kernel, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mixkit.moving.zip_out.MOST_ENTRIES", 5)
    with pytest.raises(PackageError, match="an export has at most 5 entries"):
        exported(kernel, workspace)


@pytest.fixture
def wide(kernel: Kernel, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """An export in the form of those that have gigabytes, and thousands of files."""
    with monkeypatch.context() as patch:
        patch.setattr("zipfile.ZIP64_LIMIT", 100)
        patch.setattr("zipfile.ZIP_FILECOUNT_LIMIT", 3)
        patch.setattr("mixkit.moving.zip_out._WIDE", -1)
        return exported(kernel, workspace)


def test_a_large_export_comes_whole(
    kernel: Kernel, store: WorkspaceStore, workspace: Workspace, wide: bytes
) -> None:
    assert b"PK\x06\x06" in wide
    with pytest.raises(PackageError, match="its end record is at"):
        Package.open(wide)
    assert brought(kernel, store, wide, "second").files == 5
    assert versions(kernel, store.workspace("second"), "empty") == []
    assert asyncio.run(found_files(kernel, store.workspace("second"), "notes"))["/b:c"][0] == b"colon"


def test_a_large_export_is_read_as_narrowly(kernel: Kernel, store: WorkspaceStore, wide: bytes) -> None:
    """Each byte of what it ends with is looked at: none can be another one and mean the same."""
    end, locator = wide.rindex(b"PK\x06\x06"), wide.rindex(b"PK\x06\x07")
    passed_over = {*range(end + 12, end + 16)}
    """Versions of programs."""
    for at in range(end, len(wide)):
        changed = bytearray(wide)
        changed[at] ^= 0x10
        if at in passed_over:
            continue
        with tempfile.TemporaryFile() as file:
            file.write(changed)
            with pytest.raises(PackageError):
                Export(file, MOST)
    # Nor can there be something between.
    for at in (end, locator, locator + 20):
        with tempfile.TemporaryFile() as file:
            file.write(wide[:at] + b"\0" + wide[at:])
            with pytest.raises(PackageError):
                Export(file, MOST)


def test_numbers_of_a_large_export_that_nobody_asked_for_are_refused(wide: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(wide)) as archive:
        info = archive.getinfo("records/notes.ndjson")
    extra = wide.index(b"\x01\x00\x10\x00", info.header_offset)
    central = wide.rindex(b"records/notes.ndjson") + len("records/notes.ndjson")
    assert wide[central : central + 2] == b"\x01\x00"
    for at in (extra, extra + 2, extra + 4, central, central + 2, central + 4):
        changed = bytearray(wide)
        changed[at] ^= 0x08
        with tempfile.TemporaryFile() as file:
            file.write(changed)
            with pytest.raises(PackageError):
                Export(file, MOST)


ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e300,
    1 << 70,
    "",
    "../x",
    "\x00",
    "\ud800",
    [],
    {},
    [[]],
    {"": {"": None}},
)


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, item in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places_in(item, (*path, key))


def put(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], odd)
    return copy


def test_whatever_stands_in_a_document_is_refused_or_means_something(
    kernel: Kernel, store: WorkspaceStore, workspace: Workspace
) -> None:
    """Each value in the documents of an export is another one: nothing but a refusal comes of it."""
    data = exported(kernel, workspace)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        documents = {
            name: archive.read(name).splitlines(keepends=True)
            if name.endswith(".ndjson")
            else [archive.read(name)]
            for name in ("manifest.json", "installed/notes.json", "files/notes.ndjson", "workspace.ndjson")
        }
    refused = taken = 0
    for name, (first, *rest) in documents.items():
        document = json.loads(first)
        for path, odd in product(places_in(document), ODD):
            line = json.dumps(put(document, path, odd)).encode() + b"\n"
            bad = changed(data, {name: b"".join([line, *rest])})
            try:
                with tempfile.TemporaryFile() as file:
                    file.write(bad)
                    opened = Export(file, MOST)
                    json.dumps(opened.described()).encode()
                    opened._belongings(kernel, "second", Bringing())
                    opened._usable(kernel)
                taken += 1
            except MixError:
                refused += 1
    assert refused > 500 and taken
