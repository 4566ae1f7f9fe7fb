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
from mixkit.package import Package, WorkspaceStore
from mixkit.package.build import pack

ROOT, APPS = Path(sys.argv[1]), ("one", "two")

def package(version):
    apps = {app: {"agents": {"main": {"code": f"code/{app}/main.wasm"}}} for app in APPS}
    manifest = {"format": 3, "name": "demo", "version": version, "kind": "workspace", "apps": apps}
    code = f"code {version} ".encode() * 1000
    entries = {f"code/{app}/main.wasm": code for app in APPS} | {"manifest.json": json.dumps(manifest).encode()}
    return Package.open(pack({path: partial(bytes, data) for path, data in entries.items()}))

def look(workspace):
    '''The version of all apps, after checking that they have the same one, and that their code is whole.

    An install may come between looking at one app and the next: then look again.
    '''
    for _ in range(200):
        before = workspace.switch.read().apps
        apps = [workspace.app(name) for name in APPS]
        if workspace.switch.read().apps == before:
            break
        [app.close() for app in apps]
    else:
        raise AssertionError("it changes all the time")
    version, = {app.version for app in apps}
    for app in apps:
        assert app.code("main") == f"code {version} ".encode() * 1000, (app, version)
        app.close()
    return version

def clean(workspace):
    '''Nothing is there that the switch does not name.'''
    current = workspace.switch.read().apps
    names = {str(path.relative_to(workspace.root)) for path in workspace.root.glob("*/versions/*")}
    assert names == {f"{app}/versions/{generation}" for app, generation in current.items() if generation}, names
    hidden = {path.name for path in workspace.root.parent.rglob(".*")} | {p.name for p in workspace.root.glob(".*")}
    assert hidden <= {".lock"}, hidden
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

    def count(event, args):
        nonlocal left
        if event in WATCHED:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(count)
        action()
        os._exit(42)
    finally:
        os._exit(1)

# A killed process loses nothing that it wrote, flushed or not; waiting for the disk would only cost time.
os.fsync = lambda fd: None

store = WorkspaceStore(ROOT)
old, new = package("1"), package("2")
workspace = store.create("main")

# First install: nothing, or all.
step, outcomes = 0, set()
while killed(step, lambda: workspace.install(new)):
    outcomes.add(bool(workspace.apps()))
    if workspace.apps():
        look(workspace)
        [workspace.delete_app(app) for app in APPS]
    workspace.create_app("sweeps")
    workspace.delete_app("sweeps")
    clean(workspace)
    step += 1
assert outcomes == {False, True}, outcomes
print("first", step)

# Upgrade: the old version of both apps, or the new one of both.
step, outcomes = 0, set()
workspace.install(old, force=True)
while killed(step, lambda: workspace.install(new)):
    outcomes.add(look(workspace))
    workspace.install(new)
    assert look(workspace) == "2"
    clean(workspace)
    workspace.install(old, force=True)
    step += 1
assert outcomes == {"1", "2"}, outcomes
print("upgrade", step)

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
        store.create("main").install(old)
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
workspace = WorkspaceStore(ROOT).workspace("main")
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
workspace = WorkspaceStore(ROOT).workspace("main")
for number in range(15):
    workspace.install(package(f"{sys.argv[2]}.{number}"), force=True)
    look(workspace)
"""
)

LOOK_MANY = (
    COMMON
    + """
workspace = WorkspaceStore(ROOT).workspace("main")
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

LAST = COMMON + "\nworkspace = WorkspaceStore(ROOT).workspace('main')\nlook(workspace)\n"
CLEAN = LAST + "workspace.install(package('99999'))\nassert look(workspace) == '99999'\nclean(workspace)\n"
FIRST = COMMON + "\nWorkspaceStore(ROOT).create('main').install(package('1'))\n"


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
    assert told.keys() == {"first", "upgrade", "create", "delete"}
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
