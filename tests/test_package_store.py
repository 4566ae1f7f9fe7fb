"""Installing into workspaces: all or nothing, once, with no more powers than somebody agreed to."""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mix_db.storages import Memory, Mixquery

from mixkit.databases import Databases
from mixkit.errors import EngineError, NotFound, PackageError, StorageError
from mixkit.grants import ALL, Grants
from mixkit.package import BadName, Busy, Exists, InstalledApp, Package, Workspace, WorkspaceStore, disk
from mixkit.package.build import pack, sign
from mixkit.package.signature import make_key
from mixkit.schema import ANY
from mixkit.storage import Database, SaveOptions


def package(version: str = "1.0", *, apps: tuple[str, ...] = ("demo",), **changes: Any) -> Package:
    """A package whose code says which version it is. A `/` in a keyword's value names an entry."""
    extra: dict[str, bytes] = changes.pop("entries", {})
    code = changes.pop("code", f"code {version}").encode()
    manifest = {
        "format": 3,
        "name": "demo",
        "version": version,
        "kind": "app" if len(apps) == 1 else "workspace",
        "apps": {
            app: {"agents": {"main": {"code": f"code/{app}/main.wasm", "inParams": {"n": "int"}}}}
            for app in apps
        },
        **changes,
    }
    entries = {"manifest.json": json.dumps(manifest).encode(), **extra}
    entries |= {f"code/{app}/main.wasm": code for app in apps}
    return Package.open(pack({path: partial(bytes, data) for path, data in entries.items()}))


@pytest.fixture
def databases() -> Iterator[Databases]:
    databases = Databases(Mixquery)
    yield databases
    databases.close()


@pytest.fixture
def store(tmp_path: Path, databases: Databases) -> WorkspaceStore:
    return WorkspaceStore(tmp_path / "store", databases)


@pytest.fixture
def workspace(store: WorkspaceStore) -> Workspace:
    return store.create("main")


def names(root: Path) -> set[str]:
    """Everything below, but what databases consist of, locks, and what counts changes."""
    found = (path.relative_to(root) for path in root.rglob("*"))
    return {str(path) for path in found if path.name not in (".lock", ".changes") and "v2" not in path.parts}


def folder(workspace: Workspace, app: str = "demo") -> str:
    """The folder of an app."""
    return workspace.place(app).home.parent.name


def book(workspace: Workspace) -> Database:
    """The workspace's own database."""
    return workspace.database()


def code_of(workspace: Workspace) -> set[str]:
    """SHA-256 of all code that is there without looking at history."""
    rows = book(workspace).query('"_rmx_type" == "code" and exists content')
    return {row["_rmx_id"].id.split(":")[1] for row in rows}


def state(workspace: Workspace) -> Any:
    """Everything that there is of a workspace."""
    apps = {app: workspace.generation(app) for app in workspace.apps()}
    history = {app: workspace.past(app) for app in apps}
    return names(workspace.root), apps, history, code_of(workspace)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_workspaces(tmp_path: Path, databases: Databases) -> None:
    store = WorkspaceStore(tmp_path / "not" / "there" / "yet", databases)
    assert store.list() == []
    store.create("b")
    store.create("a")
    assert store.list() == ["a", "b"]
    with pytest.raises(Exists):
        store.create("a")
    store.delete("a")
    assert store.list() == ["b"]
    for lookup in (store.workspace, store.delete):
        with pytest.raises(NotFound):
            lookup("a")
    assert names(store.root) == {"b", "b/workspace.db"}
    (store.root / "somebodys").mkdir()
    (store.root / "somebodys" / "file").touch()
    with pytest.raises(Exists):
        store.create("somebodys")
    with pytest.raises(NotFound):
        store.workspace("somebodys")
    # What somebody who was killed began to make is in nobody's way.
    (store.root / "c").mkdir()
    assert store.list() == ["b"]
    assert store.create("c").apps() == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/a", ".hidden", "-x", "a.b", "a\0", "a\n", "ä", "x" * 64, "a b"]
)
def test_names_that_are_no_names(workspace: Workspace, store: WorkspaceStore, name: str) -> None:
    before = names(store.root)
    for call in (store.create, store.workspace, store.delete, workspace.create_app):
        with pytest.raises(BadName):
            call(name)
    for call in (workspace.app, workspace.place, workspace.delete_app):
        with pytest.raises(NotFound):
            call(name)
    assert names(store.root) == before


def test_install(workspace: Workspace) -> None:
    done = workspace.install(
        package(
            limits={"wall_time": 3}, grants={"ffis": ["$a"]}, entries={"runtime.json": b'{"color": "red"}'}
        )
    )
    assert (done.changed, done.apps, done.version, done.withheld) == (True, ("demo",), "1.0", ())
    app = workspace.app("demo")
    assert (app.name, app.workspace, app.version) == ("demo", "main", "1.0")
    assert app.code("main") == b"code 1.0"
    agent = app.agents["main"]
    assert (agent.name, agent.entry, str(agent.in_params), agent.out_params) == (
        "main",
        "main",
        "{n: int}",
        ANY,
    )
    assert app.limits == {"wall_time": 3}
    assert app.settings == {"color": "red"}
    assert app.grants.allows("$a") and not app.grants.allows("$b")
    assert app.generation == workspace.generation("demo") != ""
    with pytest.raises(NotFound, match="there are: main"):
        app.code("other")
    app.close()
    app.close()
    with pytest.raises(NotFound):
        app.code("main")


def test_settings_as_deep_as_settings_may_be(workspace: Workspace) -> None:
    """What stands in a package one level deep stands deeper in the store."""
    settings = b'{"a":' * 250 + b"1" + b"}" * 250
    workspace.install(package(entries={"runtime.json": settings}))
    assert workspace.app("demo").settings == json.loads(settings)


def test_the_same_again_changes_nothing(workspace: Workspace) -> None:
    workspace.install(package())
    before = state(workspace), book(workspace).watermark()
    repacked = package()
    done = workspace.install(repacked, validate=lambda *_: pytest.fail("there is nothing to check"))
    assert (done.changed, done.apps) == (False, ())
    assert (state(workspace), book(workspace).watermark()) == before


def test_an_upgrade_keeps_data_and_whoever_reads_old_code_goes_on(workspace: Workspace) -> None:
    workspace.install(package("1.0"))
    old = workspace.app("demo")
    old.place.home.mkdir()
    (old.place.home / "records").write_bytes(b"mine")
    for version in ("1.1", "1.2"):
        workspace.install(package(version))
        assert old.code("main") == b"code 1.0"
    assert workspace.app("demo").code("main") == b"code 1.2"
    assert code_of(workspace) == {digest(b"code 1.2")}
    book(workspace).compact(drop_history=True)
    assert old.code("main") == b"code 1.0"
    assert workspace.app("demo").code("main") == b"code 1.2"
    assert (old.place.home / "records").read_bytes() == b"mine"
    workspace.install(package("1.0"), force=True)
    assert workspace.app("demo").code("main") == b"code 1.0"


def test_an_install_is_one_commit(workspace: Workspace) -> None:
    """Of any number of apps; only the names of new ones are noted before."""
    apps = ("a", "b", "c")
    workspace.install(package("1.0", apps=apps))
    before = int(book(workspace).watermark())
    workspace.install(package("1.1", apps=apps))
    assert int(book(workspace).watermark()) == before + 1


def test_code_of_several_parts_that_several_apps_have(workspace: Workspace) -> None:
    code = random.Random(1).randbytes(1_600_000).hex()
    workspace.install(package("1.0", apps=("a", "b"), code=code))
    assert workspace.app("a").code("main") == workspace.app("b").code("main") == code.encode()
    rows = list(book(workspace).query('"_rmx_type" == "code"'))
    assert [(len(row["content"]), row["parts"]) for row in rows] == [(1 << 20, 4)] * 3 + [(54_272, 4)]
    workspace.delete_app("a")
    assert workspace.app("b").code("main") == code.encode()
    workspace.delete_app("b")
    assert code_of(workspace) == set()
    workspace.install(package("1.0", code=""))
    assert workspace.app("demo").code("main") == b""


def test_more_code_than_one_install_may_bring(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixkit.package.install.MAX_CODE", 100)
    workspace.install(package("1.0", apps=("a", "b"), code="x" * 100))
    with pytest.raises(PackageError, match="at most 100 bytes of new code in one install, found 101"):
        workspace.install(package("1.1", apps=("a", "b"), code="x" * 101))


def test_a_storage_that_forgets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="outlives the process, found 'memory'"):
        WorkspaceStore(tmp_path / "store", Databases(Memory))
    assert not (tmp_path / "store").exists()


def test_the_past(workspace: Workspace) -> None:
    started = datetime.now(UTC) - timedelta(milliseconds=1)
    workspace.create_app("demo")
    workspace.install(package("1.0", grants={"ffis": ["$a", "$b"]}), granted=Grants(["$a"]))
    workspace.install(package("1.1"))
    workspace.delete_app("demo")
    workspace.install(package("1.2"))
    past = workspace.past("demo")
    assert [event.what for event in past] == ["created", "installed", "installed", "deleted", "installed"]
    assert [event.installation and event.installation.release.version for event in past] == [
        None, "1.0", "1.1", None, "1.2",
    ]  # fmt: skip
    first = past[1].installation
    assert first is not None
    assert first.grants().allows("$a") and not first.grants().allows("$b")
    times = [event.when for event in past]
    assert started <= times[0] and times == sorted(times) and times[-1] <= datetime.now(UTC)
    assert workspace.past("other") == []


def test_other_processes_see_it(workspace: Workspace) -> None:
    """Two stores on one directory stand for two processes; nothing is shared but the files."""
    databases = Databases(Mixquery)
    other = WorkspaceStore(workspace.root.parent, databases).workspace("main")
    assert other.apps() == []
    for number in range(20):
        workspace.install(package(f"1.{number}"))
        assert other.generation("demo") == workspace.generation("demo")
        assert other.app("demo").version == f"1.{number}"
    workspace.delete_app("demo")
    assert other.apps() == []
    with pytest.raises(NotFound):
        other.app("demo")
    databases.close()


def test_apps_without_code(workspace: Workspace) -> None:
    app = workspace.create_app("empty")
    assert (app.generation, app.version, app.agents) == ("", "", {})
    assert not app.grants.allows("$core_log")
    with pytest.raises(NotFound):
        app.code("main")
    with pytest.raises(Exists):
        workspace.create_app("empty")
    (workspace.root / "others-directory").mkdir()
    workspace.create_app("others-directory")
    workspace.delete_app("others-directory")
    workspace.install(package(apps=("empty",)))
    assert workspace.app("empty").version == "1.0"
    workspace.delete_app("empty")
    with pytest.raises(NotFound):
        workspace.delete_app("empty")
    # What is not an app is not ours to sweep.
    assert (workspace.root / "others-directory").is_dir()


def test_a_deleted_app_is_readable_until_closed(workspace: Workspace) -> None:
    workspace.install(package())
    app = workspace.app("demo")
    (app.place.home / "some").mkdir(parents=True)
    workspace.delete_app("demo")
    assert app.code("main") == b"code 1.0"
    app.close()
    assert names(workspace.root) == {"workspace.db"}
    assert code_of(workspace) == set()
    # Nothing of it is there for the next one of that name.
    workspace.install(package())
    assert names(workspace.root) == {"workspace.db", folder(workspace)}


def test_the_databases_of_what_is_deleted_are_closed(workspace: Workspace, store: WorkspaceStore) -> None:
    for delete in (lambda: workspace.delete_app("demo"), lambda: store.delete("main")):
        workspace.install(package())
        opened = store._databases.open(workspace.place("demo"))
        opened.save([{"n": 1}])
        delete()
        with pytest.raises(StorageError, match="closed"):
            opened.save([{"n": 2}])


@pytest.mark.parametrize("deleted", ["app", "workspace"])
def test_an_app_that_is_made_again_has_another_place(
    workspace: Workspace, store: WorkspaceStore, deleted: str
) -> None:
    workspace.install(package())
    place = workspace.app("demo").place
    store._databases.open(place).save([{"n": 1}])
    # An upgrade is the same app.
    workspace.install(package("2.0"))
    assert workspace.place("demo") == workspace.place_at_hand("demo") == place
    assert workspace.is_current(place, workspace.generation("demo"))
    if deleted == "app":
        workspace.delete_app("demo")
    else:
        store.delete("main")
        store.create("main")
    for make in (workspace.create_app, lambda _: workspace.install(package("2.0"))):
        with pytest.raises(NotFound, match="gone"):
            workspace.place_beside(place, "demo")
        make("demo")
        assert not workspace.is_current(place, workspace.generation("demo"))
        with pytest.raises(NotFound, match="gone"):
            workspace.place_beside(place, "demo")
        with pytest.raises(NotFound, match="gone"):
            store._databases.open(place)
    assert workspace.place("demo") != place
    assert list(store._databases.open(workspace.place("demo")).query("true")) == []
    assert not place.home.parent.exists()


def test_a_glance_sees_what_other_processes_have_changed(workspace: Workspace, tmp_path: Path) -> None:
    others = Databases(Mixquery)
    elsewhere = WorkspaceStore(tmp_path / "store", others)
    try:
        there = elsewhere.workspace("main")
        for number in range(1, 4):
            there.install(package(f"{number}.0"))
            place, generation = there.place("demo"), there.generation("demo")
            # The first look opens the database, for which a glance is not enough.
            assert workspace.generation("demo") == generation
            assert workspace.is_current(place, generation)
            there.install(package(f"{number}.1"))
            assert not workspace.is_current(place, generation)
            assert workspace.is_current(place, there.generation("demo"))
        there.delete_app("demo")
        assert workspace.place_at_hand("demo") is None
        there.install(package())
        found = workspace.place_at_hand("demo")
        assert found == there.place("demo") != place
        elsewhere.delete("main")
        assert workspace.place_at_hand("demo") is None
    finally:
        others.close()


def test_a_glance_reads_again_only_what_was_written(workspace: Workspace) -> None:
    made: list[str] = []

    def read(database: Database) -> tuple[int, str]:
        made.append(database.watermark())
        return len(made), made[-1]

    glance = workspace.glance(read)
    assert (glance.current(), glance.known()) == (None, None)
    assert [glance.value(), glance.value(), glance.at_hand(), glance.known()] == [1, 1, 1, 1]
    with workspace.writing():
        # Nobody can say by a mark what it is while it is being written.
        assert glance.current() is None
        assert glance.known() == 1
    assert glance.current() is None
    # Counted, but nothing was written.
    assert [glance.known(), glance.current()] == [1, 1]
    with workspace.writing() as database:
        database.save([{"_rmx_type": "note"}])
    assert (glance.current(), glance.known()) == (None, None)
    assert [glance.at_hand(), glance.current(), glance.value()] == [2, 2, 2]
    assert len(made) == 2


def test_a_glance_goes_on_when_who_changed_something_was_killed(workspace: Workspace) -> None:
    workspace.install(package())
    changes = str(workspace.root / disk.CHANGES)
    assert disk.mark(changes) is not None
    child = os.fork()
    if not child:
        with disk.counted(workspace.root):
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert disk.mark(changes) is None
    place, old = workspace.place("demo"), workspace.generation("demo")
    assert workspace.is_current(place, old)
    # A commit of which whoever made it was killed before anybody could be told.
    record = book(workspace).get("app:demo")
    assert record is not None
    book(workspace).save([record | {"generation": None}])
    assert not workspace.is_current(place, old)
    now = book(workspace).get("app:demo")
    assert now is not None
    book(workspace).save([now | {"generation": old}])
    workspace.install(package("2.0"))
    assert disk.mark(changes) is not None
    assert workspace.is_current(place, workspace.generation("demo"))


def test_an_app_whose_folder_has_the_name_alone_keeps_it(workspace: Workspace) -> None:
    workspace.install(package())
    record = book(workspace).get("app:demo")
    assert record is not None
    (workspace.root / record["folder"]).rename(workspace.root / "demo")
    old = {name: value for name, value in record.items() if name != "folder"}
    book(workspace).save([old], SaveOptions(original_id_always=True))
    workspace.install(package("2.0"))
    place = workspace.place("demo")
    assert place.home == workspace.root / "demo" / "data"
    workspace.delete_app("demo")
    workspace.install(package("3.0"))
    assert names(workspace.root) == {"workspace.db", folder(workspace)}
    assert folder(workspace) != "demo"


def test_a_deleted_workspace_is_gone_for_whoever_had_it(workspace: Workspace, store: WorkspaceStore) -> None:
    workspace.install(package())
    app = workspace.app("demo")
    store.delete("main")
    for call in (
        workspace.apps, partial(workspace.app, "demo"), partial(workspace.install, package()),
        partial(workspace.past, "demo"), partial(workspace.create_app, "a"), partial(workspace.delete_app, "demo"),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            call()
    assert workspace.place_at_hand("demo") is None
    assert not workspace.is_current(app.place, app.generation)
    with pytest.raises(StorageError, match="closed"):
        app.code("main")
    # One of that name is another one, also when it has seen as many commits.
    again = store.create("main")
    assert again.apps() == workspace.apps() == []
    again.install(package("2.0"))
    assert workspace.app("demo").version == "2.0"
    assert names(store.root) == {"main", "main/workspace.db", f"main/{folder(workspace)}"}


class TestRefused:
    """Nothing of a package that is refused remains, nor is anything else changed."""

    @pytest.fixture(autouse=True)
    def unchanged(self, workspace: Workspace) -> Iterator[None]:
        workspace.install(package("2.0"))
        before = state(workspace)
        yield
        assert state(workspace) == before
        assert workspace.app("demo").code("main") == b"code 2.0"

    def test_an_older_version(self, workspace: Workspace) -> None:
        with pytest.raises(PackageError, match=r"version 2\.0 is installed, which is newer"):
            workspace.install(package("1.9.9"))

    def test_the_same_version_with_another_content(self, workspace: Workspace) -> None:
        with pytest.raises(PackageError, match="another content"):
            workspace.install(package("2.0.0", code="other"))

    def test_another_package(self, workspace: Workspace) -> None:
        with pytest.raises(PackageError, match="the app is from the package 'demo'"):
            workspace.install(package("3.0", name="evil"))

    def test_one_app_of_several(self, workspace: Workspace) -> None:
        with pytest.raises(PackageError, match="newer"):
            workspace.install(package("1.0", apps=("aaa", "demo", "zzz")))
        assert workspace.apps() == ["demo"]

    def test_code_that_does_not_load(self, workspace: Workspace) -> None:
        def validate(entry: str, code: bytes) -> None:
            raise EngineError(f"{entry} is no Wasm: {code[:4]!r}")

        with pytest.raises(PackageError, match="is no Wasm") as caught:
            workspace.install(package("3.0"), validate=validate)
        assert caught.value.entry == "code/demo/main.wasm"

    @pytest.mark.parametrize("error", [PackageError("no"), RuntimeError("bug"), KeyboardInterrupt()])
    @pytest.mark.parametrize("apps", [("demo",), ("new",)])
    def test_a_setup_that_fails(
        self, workspace: Workspace, error: BaseException, apps: tuple[str, ...]
    ) -> None:
        seen = []

        def setup(app: InstalledApp, agent: str) -> None:
            seen.append((app.name, agent, app.code(agent), workspace.apps()))
            app.place.home.mkdir()
            raise error

        with pytest.raises(type(error)):
            workspace.install(package("3.0", apps=apps, setup="main"), run_setup=setup)
        # It saw the new code, before that was current.
        assert seen == [(apps[0], "main", b"code 3.0", ["demo"])]
        if apps == ("demo",):
            workspace.place("demo").home.rmdir()

    def test_what_nobody_here_can_handle(self, workspace: Workspace) -> None:
        records = {"records/demo.ndjson": b'{"id": 1}\n'}
        with pytest.raises(PackageError, match=r"brings records, .* mix-db"):
            workspace.install(package("3.0", entries=records))
        with pytest.raises(PackageError, match=r"brings files, .* mix-files"):
            workspace.install(package("3.0", entries={"files/demo/logo": b"x"}))
        with pytest.raises(PackageError, match="wants agent 'main' run"):
            workspace.install(package("3.0", setup="main"))
        with pytest.raises(PackageError, match="save_options"):
            workspace.install(package("3.0", save_options={"history": True}))

    def test_content_that_is_damaged(self, workspace: Workspace) -> None:
        damaged = package("3.0")
        at = bytes(damaged.archive._data).index(b"code 3.0")
        raw = bytearray(damaged.archive._data)
        raw[at] ^= 1
        with pytest.raises(PackageError, match="damaged") as caught:
            workspace.install(Package.open(bytes(raw)))
        assert caught.value.entry == "code/demo/main.wasm"

    def test_signatures(self, workspace: Workspace) -> None:
        (_, public), (theirs, _) = make_key(), make_key()
        with pytest.raises(PackageError, match="not signed"):
            workspace.install(package("3.0"), trusted=[public])
        with pytest.raises(PackageError, match="not among the trusted"):
            workspace.install(Package.open(sign(package("3.0"), theirs)), trusted=[public])

    def test_a_disk_that_is_full(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(fd: int, data: bytes, offset: int) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("os.pwrite", full)
            with pytest.raises(StorageError, match="No space"):
                workspace.install(package("3.0"))


def test_an_upgrade_must_be_signed_by_who_signed_before(workspace: Workspace) -> None:
    (mine, public), (theirs, _) = make_key(), make_key()
    workspace.install(Package.open(sign(package("1.0"), mine)), trusted=[public])
    for other in (package("1.1"), Package.open(sign(package("1.1"), theirs))):
        with pytest.raises(PackageError, match="the app was signed by"):
            workspace.install(other)
    workspace.install(Package.open(sign(package("1.1"), mine)))
    workspace.install(package("1.2"), force=True)
    assert workspace.app("demo").version == "1.2"


def test_force(workspace: Workspace) -> None:
    workspace.install(package("2.0"))
    workspace.install(package("1.0", name="other"), force=True)
    assert workspace.app("demo").version == "1.0"


def test_records_files_and_setup_are_handed_over_in_order(workspace: Workspace) -> None:
    told: list[Any] = []
    handlers: dict[str, Any] = {
        "load_records": lambda app, lines, options: told.append((app.name, list(lines), options)),
        "load_files": lambda app, files: told.append([(path, b"".join(data)) for path, data in files]),
        "run_setup": lambda app, agent: told.append(agent),
    }
    content = package(
        setup="demo/main",
        save_options={"history": True},
        entries={
            "records/demo.ndjson": b'{"a":1}\n\n{"b":2}',
            "files/demo/b/c": b"2",
            "files/demo/a": b"1",
        },
    )
    workspace.install(content, **handlers)
    assert told == [
        ("demo", [b'{"a":1}', b'{"b":2}'], {"history": True}),
        [("a", b"1"), ("b/c", b"2")],
        "main",
    ]
    workspace.install(content, **handlers)
    assert len(told) == 3


class TestGrants:
    def test_a_first_install_gives_what_is_asked_for(self, workspace: Workspace) -> None:
        workspace.install(package(grants={"ffis": ["$http_*"], "options": {"http.hosts": ["a.example"]}}))
        grants = workspace.app("demo").grants
        assert grants.allows("$http_do") and not grants.allows("$db_get")
        assert grants.option("http.hosts") == [["a.example"]]

    def test_or_less(self, workspace: Workspace) -> None:
        asked = package(grants={"ffis": ["$http_*", "$db_*"]})
        done = workspace.install(asked, granted=Grants(["$db_get"], {"http.hosts": []}))
        grants = workspace.app("demo").grants
        assert [name for name in ("$db_get", "$db_save", "$http_do") if grants.allows(name)] == ["$db_get"]
        assert grants.option("http.hosts") == [[]]
        assert done.withheld == ("$db_*", "$http_*", "http.hosts: any")

    def test_never_more_than_is_asked_for(self, workspace: Workspace) -> None:
        workspace.install(package(grants={"ffis": ["$a"]}), granted=Grants(["*"]))
        assert not workspace.app("demo").grants.allows("$b")

    def test_an_upgrade_gets_nothing_new_by_itself(self, workspace: Workspace) -> None:
        workspace.install(package("1", grants={"ffis": ["$a"], "options": {"http.hosts": ["a"]}}))
        wider = package("2", grants={"ffis": ["$a", "$b"], "options": {"http.hosts": ["a", "evil"]}})
        done = workspace.install(wider)
        grants = workspace.app("demo").grants
        assert grants.allows("$a") and not grants.allows("$b")
        # Both restrictions hold, so "evil" is not allowed.
        assert grants.option("http.hosts") == [["a", "evil"], ["a"]]
        assert done.withheld == ("$b", "http.hosts: evil")
        assert workspace.install(wider).withheld == done.withheld
        # It stays so in the upgrade after that, until somebody agrees.
        done = workspace.install(package("3", grants={"ffis": ["$a", "$b"]}))
        assert done.withheld == ("$b", "http.hosts: any")
        assert not workspace.app("demo").grants.allows("$b")
        done = workspace.install(package("3", grants={"ffis": ["$a", "$b"]}), granted=Grants(["*"]))
        assert (done.changed, done.withheld) == (True, ())
        assert workspace.app("demo").grants.allows("$b")

    def test_agreeing_to_a_prefix_is_not_agreeing_to_what_comes_later(self, workspace: Workspace) -> None:
        workspace.install(package("1", grants={"ffis": ["$db_get"]}), granted=Grants(["$db_*"]))
        workspace.install(package("2", grants={"ffis": ["$db_get", "$db_delete"]}))
        assert not workspace.app("demo").grants.allows("$db_delete")

    def test_a_force_is_not_an_agreement(self, workspace: Workspace) -> None:
        workspace.install(package("1", grants={"ffis": ["$a"]}))
        workspace.install(package("1", name="evil", grants={"ffis": ["*"]}), force=True)
        assert not workspace.app("demo").grants.allows("$b")


@pytest.mark.parametrize("content", [b"code 6.6", None, 7])
def test_code_that_was_changed_in_the_store_is_not_run(workspace: Workspace, content: Any) -> None:
    workspace.install(package())
    id = f"code:{digest(b'code 1.0')}:0"
    fields = {} if content is None else {"parts": 1, "content": content}
    book(workspace).save([{"_rmx_id": id, **fields}], SaveOptions(original_id_always=True))
    with pytest.raises(PackageError, match="install it again") as caught:
        workspace.app("demo").code("main")
    assert caught.value.entry == "code/demo/main.wasm"
    # Which is what helps.
    assert workspace.install(package()).changed
    assert workspace.app("demo").code("main") == b"code 1.0"
    assert not workspace.install(package()).changed


def test_grants_that_were_changed_in_the_store_are_not_given(workspace: Workspace) -> None:
    workspace.install(package(grants={"ffis": ["$a"]}))
    record = dict(book(workspace).get("app:demo") or {})
    record["installation"] = record["installation"].replace(b'"$a"', b'"$b"')
    book(workspace).save([record], SaveOptions(original_id_always=True))
    with pytest.raises(PackageError, match="not what was installed"):
        workspace.app("demo")
    workspace.delete_app("demo")
    workspace.install(package())


@pytest.mark.parametrize("flushed", [False, True])
def test_files_that_were_changed_on_the_disk(workspace: Workspace, flushed: bool) -> None:
    """Old code is never answered for new, nor damaged code at all: the database says what is damaged."""
    workspace.install(package(code="a code that is easily found"))
    # The last commit of all could be one that a crash cut off.
    workspace.create_app("other")
    if flushed:
        book(workspace).flush()
    workspace._changes._databases.close()
    [damaged] = [
        path for path in workspace.root.rglob("*") if path.is_file() and b"easily found" in path.read_bytes()
    ]
    damaged.write_bytes(damaged.read_bytes().replace(b"easily found", b"easily fooled"[:12]))
    databases = Databases(Mixquery)
    with pytest.raises(StorageError, match=damaged.name):
        WorkspaceStore(workspace.root.parent, databases).workspace("main").app("demo").code("main")
    databases.close()


def test_a_lock_that_is_held(workspace: Workspace) -> None:
    with (
        disk.locked(workspace.root),
        pytest.raises(Busy, match="locked"),
        disk.locked(workspace.root, seconds=0.05),
    ):
        pytest.fail("two at once")
    assert workspace.install(package()).changed


def test_a_workspace_that_is_deleted_while_one_waits_for_it(
    workspace: Workspace, store: WorkspaceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, outcome, sleep = threading.Event(), [], time.sleep

    def told(seconds: float) -> None:
        waiting.set()
        sleep(seconds)

    def install() -> None:
        try:
            workspace.install(package())
        except NotFound as exc:
            outcome.append(exc)

    monkeypatch.setattr("mixkit.package.disk.time.sleep", told)
    thread = threading.Thread(target=install)
    with disk.locked(workspace.root):
        thread.start()
        assert waiting.wait(30)
        disk.to_trash(workspace.root)
        # It waits for the lock of the old one, which says nothing about a new one of the same name.
        again = store.create("main")
    thread.join(30)
    assert len(outcome) == 1
    assert again.apps() == []


def test_no_app_is_where_the_database_of_the_workspace_is(workspace: Workspace) -> None:
    workspace.install(package())
    home = workspace.root / "workspace.db"
    assert home.is_dir()
    for name in (
        home.name,
        f"{home.name}/v2",
        "",
        ".",
        f"../main/{home.name}",
        "app:demo",
        "demo/../" + home.name,
    ):
        for call in (workspace.create_app, workspace.app, workspace.place, workspace.delete_app):
            with pytest.raises(NotFound):
                call(name)
        with pytest.raises(PackageError):
            workspace.install(package("2.0", apps=(name,)))
    assert workspace.apps() == ["demo"]


def test_an_option_that_opens_waits_for_a_yes(workspace: Workspace) -> None:
    def asks(version: str, **options: Any) -> Package:
        return package(version, grants={"ffis": ["*"], "options": options})

    def opened() -> list[Any]:
        return workspace.app("demo").grants.opened("db.apps")

    def is_open(app: str) -> bool:
        return all(layer == "*" or (layer is not None and app in layer) for layer in opened())

    workspace.install(asks("1.0"))
    assert not is_open("crm")
    # An upgrade opens nothing by itself, not even for a package that may call everything.
    assert workspace.install(asks("2.0", **{"db.apps": ["crm"]})).withheld == ("db.apps: crm",)
    assert not is_open("crm")
    assert workspace.install(asks("3.0", **{"db.apps": "*"})).withheld == ("db.apps: any",)
    assert not is_open("crm")
    # Nor does a yes to functions alone.
    assert workspace.install(asks("4.0", **{"db.apps": ["crm"]}), granted=Grants(["$db_*"])).withheld
    assert not is_open("crm")
    assert workspace.install(asks("5.0", **{"db.apps": ["crm"]}), granted=ALL).withheld == ()
    assert is_open("crm")
    assert not is_open("tasks")
    done = workspace.install(asks("6.0", **{"db.apps": ["crm", "tasks"]}))
    assert done.withheld == ("db.apps: tasks",)
    assert is_open("crm")
    assert not is_open("tasks")
    consent = Grants(["*"], {"db.apps": ["tasks"]})
    assert workspace.install(asks("7.0", **{"db.apps": "*"}), granted=consent).withheld == ("db.apps: any",)
    assert is_open("tasks")
    assert not is_open("crm")


def test_reading_tokens_waits_for_a_yes(workspace: Workspace) -> None:
    def asks(version: str, **options: Any) -> Package:
        return package(version, grants={"ffis": ["*"], "options": options})

    def may_read() -> bool:
        return all(layer is True for layer in workspace.app("demo").grants.opened("secrets.reveal"))

    workspace.install(asks("1.0"))
    done = workspace.install(asks("2.0", **{"secrets.reveal": True}))
    assert done.withheld == ("secrets.reveal: True",)
    assert not may_read()
    assert workspace.install(asks("3.0", **{"secrets.reveal": True}), granted=ALL).withheld == ()
    assert may_read()
