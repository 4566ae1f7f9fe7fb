"""Installing into workspaces: all or nothing, once, with no more powers than somebody agreed to."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mixkit.errors import EngineError, NotFound, PackageError
from mixkit.grants import ALL, Grants
from mixkit.package import BadName, Busy, Exists, InstalledApp, Package, Workspace, WorkspaceStore, disk
from mixkit.package.build import pack, sign
from mixkit.package.signature import make_key
from mixkit.schema import ANY


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
def workspace(tmp_path: Path) -> Workspace:
    return WorkspaceStore(tmp_path / "store").create("main")


def tree(root: Path) -> dict[str, bytes]:
    """Every file below, but locks, which mean nothing when nobody holds them."""
    return {
        str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name != ".lock"
    }


def names(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*")}


def test_workspaces(tmp_path: Path) -> None:
    store = WorkspaceStore(tmp_path / "not" / "there" / "yet")
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
    assert names(store.root) == {".lock", "b", "b/workspace.json", "b/.lock"} - {"b/.lock"}


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/a", ".hidden", "-x", "a.b", "a\0", "a\n", "ä", "x" * 64, "a b"]
)
def test_names_that_are_no_names(workspace: Workspace, name: str) -> None:
    store = WorkspaceStore(workspace.root.parent)
    before = names(store.root)
    for call in (store.create, store.workspace, store.delete, workspace.create_app):
        with pytest.raises(BadName):
            call(name)
    for call in (workspace.app, workspace.delete_app):
        with pytest.raises(NotFound):
            call(name)
    assert names(store.root) - {".lock", "main/.lock"} == before - {".lock", "main/.lock"}


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
    before = tree(workspace.root), workspace.generation("demo"), workspace.switch._path.stat()
    repacked = package()
    done = workspace.install(repacked, validate=lambda *_: pytest.fail("there is nothing to check"))
    assert (done.changed, done.apps) == (False, ())
    assert (tree(workspace.root), workspace.generation("demo"), workspace.switch._path.stat()) == before


def test_an_upgrade_keeps_data_and_removes_old_code(workspace: Workspace) -> None:
    workspace.install(package("1.0"))
    with_data = workspace.app("demo")
    with_data.data.mkdir()
    (with_data.data / "records").write_bytes(b"mine")
    workspace.install(package("1.1"))
    # Who was reading goes on reading what was there.
    assert with_data.code("main") == b"code 1.0"
    workspace.install(package("1.2"))
    assert with_data.code("main") == b"code 1.0"
    assert workspace.app("demo").code("main") == b"code 1.2"
    with_data.close()
    workspace.install(package("1.2"))
    kept = [path for path in tree(workspace.root) if path.endswith("main.wasm")]
    assert len(kept) == 1
    assert (with_data.data / "records").read_bytes() == b"mine"


def test_other_processes_see_it(workspace: Workspace) -> None:
    """Two stores on one directory stand for two processes; nothing is shared but the files."""
    other = WorkspaceStore(workspace.root.parent).workspace("main")
    assert other.apps() == []
    for number in range(20):
        workspace.install(package(f"1.{number}"))
        assert other.generation("demo") == workspace.generation("demo")
        assert other.app("demo").version == f"1.{number}"
    workspace.delete_app("demo")
    assert other.apps() == []
    with pytest.raises(NotFound):
        other.app("demo")


def test_apps_without_code(workspace: Workspace) -> None:
    app = workspace.create_app("empty")
    assert (app.generation, app.version, app.agents) == ("", "", {})
    assert not app.grants.allows("$core_log")
    with pytest.raises(NotFound):
        app.code("main")
    with pytest.raises(Exists):
        workspace.create_app("empty")
    (workspace.root / "others-directory").mkdir()
    with pytest.raises(Exists):
        workspace.create_app("others-directory")
    with pytest.raises(PackageError, match="is no app"):
        workspace.install(package(apps=("others-directory",)))
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
    workspace.delete_app("demo")
    assert app.code("main") == b"code 1.0"
    app.close()
    workspace.install(package(apps=("other",)))
    assert {path.partition("/")[0] for path in tree(workspace.root)} == {"workspace.json", "other"}


def test_a_deleted_workspace_is_gone_for_whoever_had_it(workspace: Workspace) -> None:
    workspace.install(package())
    app = workspace.app("demo")
    store = WorkspaceStore(workspace.root.parent)
    store.delete("main")
    for call in (workspace.apps, partial(workspace.app, "demo"), partial(workspace.install, package())):
        with pytest.raises(NotFound):
            call()
    assert app.code("main") == b"code 1.0"
    app.close()
    store.create("main")
    assert store.workspace("main").apps() == []
    assert tree(store.root).keys() == {"main/workspace.json"}


class TestRefused:
    """Nothing of a package that is refused remains, nor is anything else changed."""

    @pytest.fixture(autouse=True)
    def unchanged(self, workspace: Workspace) -> Iterator[None]:
        workspace.install(package("2.0"))
        before = tree(workspace.root)
        yield
        assert tree(workspace.root) == before
        assert workspace.app("demo").code("main") == b"code 2.0"
        assert not [name for name in names(workspace.root) if name.startswith((disk.STAGING, disk.TRASH))]

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
            app.data.mkdir()
            raise error

        with pytest.raises(type(error)):
            workspace.install(package("3.0", apps=apps, setup="main"), run_setup=setup)
        # It saw the new code, before that was current.
        assert seen == [(apps[0], "main", b"code 3.0", ["demo"])]
        if apps == ("demo",):
            workspace.app("demo").data.rmdir()

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
        def full(fd: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", full)
            with pytest.raises(OSError, match="No space"):
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


def test_code_that_was_changed_on_the_disk_is_not_run(workspace: Workspace) -> None:
    workspace.install(package())
    code = next(workspace.root.rglob("main.wasm"))
    for damage in (partial(code.write_bytes, b"code 6.6"), code.unlink):
        damage()
        with pytest.raises(PackageError, match="install it again") as caught:
            workspace.app("demo").code("main")
        assert caught.value.entry == "code/demo/main.wasm"
        # Which is what helps.
        assert workspace.install(package()).changed
        assert workspace.app("demo").code("main") == b"code 1.0"
        assert not workspace.install(package()).changed


def test_a_lock_that_is_held(workspace: Workspace) -> None:
    with (
        disk.locked(workspace.root),
        pytest.raises(Busy, match="locked"),
        disk.locked(workspace.root, seconds=0.05),
    ):
        pytest.fail("two at once")
    assert workspace.install(package()).changed


def test_a_workspace_that_is_deleted_while_one_waits_for_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
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
        again = WorkspaceStore(workspace.root.parent).create("main")
    thread.join(30)
    assert len(outcome) == 1
    assert again.apps() == []


def test_two_changes_in_one_tick_of_the_clock_are_both_seen(workspace: Workspace) -> None:
    """Files of one inode, size and time: what a fast writer on a file system with a coarse clock makes."""
    path = workspace.switch._path
    path.write_bytes(b'{"format": 1, "apps": {"a": ""}}')
    stamp = path.stat().st_mtime_ns
    assert workspace.apps() == ["a"]
    path.write_bytes(b'{"format": 1, "apps": {"b": ""}}')
    os.utime(path, ns=(stamp, stamp))
    assert workspace.apps() == ["b"]


def test_a_switch_that_is_damaged_stops_everything(workspace: Workspace) -> None:
    """Above all the sweep, which would take every app for a leftover."""
    workspace.install(package("1.0"))
    before = tree(workspace.root)
    for broken in (b"", b"{", b"[]", b'{"format": 2, "apps": {}}', b'{"format": 1, "apps": {}, "x": 1}'):
        workspace.switch._path.write_bytes(broken)
        with pytest.raises(PackageError, match=r"workspace\.json"):
            workspace.install(package("2.0"))
        assert tree(workspace.root) == before | {"workspace.json": broken}


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
