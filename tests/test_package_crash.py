"""Installs that are killed at every step, and many at once: what is there is whole, old or new."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMON = """
import json, os, signal, sys
from functools import partial
from pathlib import Path
from mix_db.storages import Mixquery
from mixkit.databases import Databases
from mixkit.package import Package, WorkspaceStore
from mixkit.package.build import pack

STORE, APPS = WorkspaceStore(Path(sys.argv[1]), Databases(Mixquery)), ("one", "two")

def package(version, **more):
    apps = {app: {"agents": {"main": {"code": f"code/{app}/main.wasm"}}} for app in APPS}
    manifest = {"format": 3, "name": "demo", "version": version, "kind": "workspace", "apps": apps, **more}
    code = f"code {version} ".encode() * 1000
    entries = {f"code/{app}/main.wasm": code for app in APPS} | {"manifest.json": json.dumps(manifest).encode()}
    return Package.open(pack({path: partial(bytes, data) for path, data in entries.items()}))

def look(workspace):
    '''The version of all apps, after checking that they have the same one, and that their code is whole.

    An install may come between looking at one app and the next: then look again.
    '''
    for _ in range(200):
        before = [workspace.generation(name) for name in APPS]
        apps = [workspace.app(name) for name in APPS]
        if [workspace.generation(name) for name in APPS] == before:
            break
    else:
        raise AssertionError("it changes all the time")
    version, = {app.version for app in apps}
    for app in apps:
        assert app.code("main") == f"code {version} ".encode() * 1000, (app, version)
        app.close()
    return version

def clean(workspace):
    '''Nothing is there that no app needs.'''
    apps = [workspace.app(name) for name in workspace.apps()]
    database = workspace.database()
    there = {row["_rmx_id"].id.split(":")[1] for row in database.query('"_rmx_type" == "code" and exists content')}
    needed = {digest for app in apps if app.release for digest in app.release.code().values()}
    assert there == needed, there ^ needed
    assert not database.check()
    names = {path.name for path in workspace.root.iterdir()}
    homes = {workspace.place(name).home.parent.name for name in workspace.apps()}
    assert names - {".lock", ".changes"} == {"workspace.db", *homes}, names
    assert not list(workspace.root.parent.glob(".trash-*"))
"""

EACH_STEP = (
    COMMON
    + """
WATCHED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "fcntl.flock"}

def killed(step, action):
    '''Whether a process died by our hand before that many file operations of the action.'''
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 42, status
        return os.WIFSIGNALED(status)
    left = step

    def count():
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(function):
        return lambda *args: (count(), function(*args))[1]

    try:
        sys.addaudithook(lambda event, args: count() if event in WATCHED else None)
        os.pwrite, os.fsync, os.fdatasync = map(counted, (os.pwrite, os.fsync, os.fdatasync))
        action()
        os._exit(42)
    finally:
        os._exit(1)

# A killed process loses nothing that it wrote, flushed or not; waiting for the disk would only cost time.
os.fsync = os.fdatasync = lambda fd: None

store = STORE
old, new = package("1", setup="one/main"), package("2", setup="one/main")

def setup(app, agent):
    '''Stores something that must not stay if the install fails.'''
    app.place.home.mkdir(exist_ok=True)
    with open(app.place.home / "told", "w") as file:
        file.write(app.version)

# First install: nothing, or all.
step, outcomes = 0, set()
workspace = store.create("main")
while killed(step, lambda: workspace.install(new, run_setup=setup)):
    outcomes.add(bool(workspace.apps()))
    if workspace.apps():
        look(workspace)
    workspace.create_app("sweeps")
    workspace.delete_app("sweeps")
    clean(workspace)
    # What is in the way of nobody.
    workspace.install(old, force=True, run_setup=setup)
    assert look(workspace) == "1"
    store.delete("main")
    workspace = store.create("main")
    step += 1
assert outcomes == {False, True}, outcomes
print("first", step)

# Upgrade: the old version of both apps, or the new one of both.
step, outcomes = 0, set()
workspace.install(old, force=True, run_setup=setup)
while killed(step, lambda: workspace.install(new, run_setup=setup)):
    outcomes.add(look(workspace))
    workspace.install(new, run_setup=setup)
    assert look(workspace) == "2"
    clean(workspace)
    workspace.install(old, force=True, run_setup=setup)
    step += 1
assert outcomes == {"1", "2"}, outcomes
print("upgrade", step)

# Deleting an app: there with its data, or gone with it.
step, outcomes = 0, set()
workspace.install(new, force=True, run_setup=setup)
(workspace.place("two").home / "kept").mkdir(parents=True)
while killed(step, lambda: workspace.delete_app("two")):
    outcomes.add("two" in workspace.apps())
    if "two" in workspace.apps():
        assert look(workspace) == "2"
        assert (workspace.place("two").home / "kept").exists()
    else:
        workspace.create_app("two")
        assert not (workspace.place("two").home / "kept").exists()
        workspace.install(new, force=True, run_setup=setup)
    clean(workspace)
    workspace.place("two").home.mkdir(exist_ok=True)
    (workspace.place("two").home / "kept").touch()
    step += 1
assert outcomes == {False, True}, outcomes
print("app", step)
workspace.install(old, force=True, run_setup=setup)

# Making and deleting workspaces.
step, outcomes = 0, set()
while killed(step, lambda: store.create("other")):
    outcomes.add("other" in store.list())
    if "other" in store.list():
        assert store.workspace("other").apps() == []
        store.delete("other")
    step += 1
assert outcomes == {False, True}, outcomes
print("create", step)
step, outcomes = 0, set()
while killed(step, lambda: store.delete("main")):
    outcomes.add("main" in store.list())
    if "main" in store.list():
        look(workspace)
    else:
        store.create("main").install(old, run_setup=setup)
    store.create("sweeps")
    store.delete("sweeps")
    clean(workspace)
    step += 1
assert outcomes == {False, True}, outcomes
print("delete", step)
"""
)

FOREVER = (
    COMMON
    + """
workspace = STORE.workspace("main")
number = int(sys.argv[2])
print("ready", flush=True)
while True:
    workspace.install(package(str(number)), force=True)
    number = number + 1
"""
)

INSTALL_MANY = (
    COMMON
    + """
workspace = STORE.workspace("main")
for number in range(15):
    workspace.install(package(f"{sys.argv[2]}.{number}"), force=True)
    look(workspace)
"""
)

LOOK_MANY = (
    COMMON
    + """
workspace = STORE.workspace("main")
seen = set()
while not Path(sys.argv[2]).exists():
    for name in APPS:
        app = workspace.app(name)
        assert app.code("main") == f"code {app.version} ".encode() * 1000
        seen.add(app.version)
        app.close()
assert len(seen) > 3, seen
"""
)

LAST = COMMON + "\nworkspace = STORE.workspace('main')\nlook(workspace)\n"
CLEAN = LAST + "workspace.install(package('99999'))\nassert look(workspace) == '99999'\nclean(workspace)\n"
FIRST = COMMON + "\nSTORE.create('main').install(package('1'))\n"


def start(script: str, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], seconds: float = 100) -> str:
    """Its output, after checking that it succeeded."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    assert process.returncode == 0, err
    return out


@pytest.mark.slow
def test_killed_before_each_file_operation(tmp_path: Path) -> None:
    told: dict[str, str] = dict(line.split() for line in finish(start(EACH_STEP, tmp_path)).splitlines())
    # So many steps were there to be killed at; fewer would mean that the hook saw nothing.
    assert told.keys() == {"first", "upgrade", "app", "create", "delete"}
    assert int(told["first"]) > 20 and int(told["upgrade"]) > 20 and int(told["create"]) > 5


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path) -> None:
    chance = random.Random(7)
    finish(start(FIRST, tmp_path))
    for number in range(12):
        process = start(FOREVER, tmp_path, number * 1000 + 2)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        finish(start(LAST, tmp_path))
    finish(start(CLEAN, tmp_path))


@pytest.mark.slow
def test_several_processes_at_once(tmp_path: Path) -> None:
    """Installers take turns; readers always find a version that is whole, and never wait for a lock."""
    finish(start(FIRST, tmp_path))
    done = tmp_path.with_name("done")
    readers = [start(LOOK_MANY, tmp_path, done) for _ in range(2)]
    installers = [start(INSTALL_MANY, tmp_path, number) for number in range(3)]
    try:
        for process in installers:
            finish(process)
    finally:
        done.touch()
        for process in readers:
            finish(process)
    finish(start(CLEAN, tmp_path))
