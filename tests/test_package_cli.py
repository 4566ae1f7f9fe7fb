"""`mixkit remix`, as a person and as a script uses it."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mix_db import Database
from mix_db.storages import Mixquery

from mixkit.cli.install import _workspace as made_workspace
from mixkit.databases import Databases
from mixkit.errors import PackageError
from mixkit.package import Package, WorkspaceStore

COMMAND = [
    sys.executable,
    "-c",
    "from mixkit.cli import main; raise SystemExit(main())",
    "-p",
    "test",
    "--set",
    "storage=mixquery",
    "remix",
]


@pytest.fixture(scope="module")
def code(guest: Callable[..., bytes]) -> bytes:
    panic = "(call $panic (i32.const 96) (i32.const 10)) (unreachable)"
    return guest('(data (i32.const 96) "not ready!")', panic=panic)


@pytest.fixture
def folder(code: bytes, tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    (source / "small.wasm").write_bytes(code)
    write(source)
    return source


def write(folder: Path, **changes: Any) -> None:
    agents = {"echo": {"code": "small.wasm", "inParams": {"n": "int"}}, "panic": {"code": "small.wasm"}}
    manifest = {
        "format": 3,
        "name": "small",
        "version": "1.0",
        "kind": "app",
        "description": "Says \x1b[2Jit again",
        "apps": {"small": {"agents": agents}},
        "grants": {"ffis": ["$crypto_md5"]},
    }
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


class Shell:
    """Runs `mixkit remix` in a folder, with the profile `test`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.profile = "test"

    def _run(self, args: tuple[object, ...], status: int) -> subprocess.CompletedProcess[str]:
        command = [self.profile if part == "test" else part for part in COMMAND] + [*map(str, args)]
        done = subprocess.run(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == status, done.stderr
        return done

    def __call__(self, *args: object, fails: int = 0) -> str:
        done = self._run(args, fails)
        return done.stdout if fails == 0 else done.stderr

    def json(self, *args: object, fails: int = 0) -> Any:
        return json.loads(self._run((*args, "--json"), fails).stdout)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def store(shell: Shell) -> Iterator[WorkspaceStore]:
    """What is in the folder `ws` of the shell."""
    databases = Databases(Mixquery)
    yield WorkspaceStore(shell.folder / "ws", databases)
    databases.close()


def test_from_a_folder_to_a_verified_package(shell: Shell, folder: Path) -> None:
    made = shell.json("keygen", "key")
    assert (shell.folder / "key").stat().st_mode & 0o777 == 0o600
    assert (shell.folder / "key.pub").read_text() == made["key"] + "\n"
    built = shell.json("build", folder)
    package = shell.folder / "small-1.0.remix"
    assert Path(built["package"]) == Path("small-1.0.remix")
    assert built["digest"] == Package.open(package).digest
    assert shell.json("verify", package)["signer"] is None
    assert "not signed" in shell("verify", package, "--trust", "key.pub", fails=1)
    # As everywhere, a path is relative to where one stands; folders on it are made.
    shell("build", folder, "-o", "deep/down/other.remix")
    assert Package.open(shell.folder / "deep" / "down" / "other.remix").digest == built["digest"]
    assert shell.json("sign", package, "--key", "key")["signer"] == made["key"]
    (shell.folder / "marked.pub").write_bytes(b"\xef\xbb\xbf" + (shell.folder / "key.pub").read_bytes())
    for trust in ("key.pub", "marked.pub", made["key"]):
        found = shell.json("verify", package, "--trust", trust)
        assert (found["signer"], found["trusted"], found["digest"]) == (made["key"], True, built["digest"])
    other = shell.json("keygen", "other")["key"]
    assert "not among the trusted" in shell("verify", package, "--trust", other, fails=1)
    # A second key of that name would be the end of the first.
    assert "exists" in shell("keygen", "key", fails=1)
    assert (shell.folder / "key.pub").read_text() == made["key"] + "\n"


def test_inspect(shell: Shell, folder: Path) -> None:
    app = json.loads((folder / "manifest.json").read_text())["apps"]["small"]
    write(folder, apps={"small": app | {"widgets": {"echo": {"sizes": ["small", "4x2"], "tags": ["again"]}}}})
    shell("build", folder, "-o", "p.remix")
    text = shell("inspect", "p.remix")
    for part in (
        "small/echo",
        "{n: int}",
        "$crypto_md5",
        "code/small/small.wasm",
        "nobody",
        "small, 4x2",
        "again",
    ):
        assert part in text
    # What the package says of itself cannot clear the screen.
    assert "\x1b" not in text and "\\x1b[2J" in text
    document = shell.json("inspect", "p.remix")
    assert document["manifest"]["name"] == "small"
    assert document["entries"].keys() == {"code/small/small.wasm", "manifest.json"}


def test_broken_packages(shell: Shell, folder: Path) -> None:
    shell("build", folder, "-o", "p.remix")
    whole = (shell.folder / "p.remix").read_bytes()
    for broken, match in ((whole[:-5], "truncated"), (b"", "zip"), (whole + b"x", "something follows it")):
        (shell.folder / "broken.remix").write_bytes(broken)
        for command in (("inspect",), ("verify",), ("install", "--ws-dir", "ws", "--ws", "main", "--yes")):
            answer = shell.json(command[0], "broken.remix", *command[1:], fails=1)
            assert answer["kind"] == "package" and match in answer["message"]
    assert not (shell.folder / "ws").exists()


def test_diff(shell: Shell, folder: Path) -> None:
    shell("build", folder, "-o", "old.remix")
    write(folder, version="2.0", grants={"ffis": ["$crypto_*"]})
    shell("build", folder, "-o", "new.remix")
    lines = shell("diff", "old.remix", "new.remix").splitlines()
    # What it may do comes first.
    assert lines[:2] == ["app small", "  + may   $crypto_*"]
    assert "  version: 1.0 -> 2.0" in lines
    (change,) = shell.json("diff", "old.remix", "new.remix")
    assert change["widened"] == ["$crypto_*"]
    assert shell("diff", "new.remix", "new.remix") == "nothing differs\n"
    shell("install", "old.remix", "--ws-dir", "ws", "--ws", "main", "--yes")
    (change,) = shell.json("diff", "new.remix", "--ws-dir", "ws", "--ws", "main")
    assert change["version"] == {"old": "1.0", "new": "2.0"}
    assert "give two packages" in shell("diff", "new.remix", fails=2)


def install(shell: Shell, *args: object, fails: int = 0) -> Any:
    return shell.json("install", "p.remix", "--ws-dir", "ws", "--ws", "main", *args, fails=fails)


def test_install_needs_an_agreement(shell: Shell, folder: Path, store: WorkspaceStore) -> None:
    shell("build", folder, "-o", "p.remix")
    refused = install(shell, fails=2)
    assert "small: $crypto_md5" in refused["message"] and "--yes" in refused["message"]
    assert store.list() == []
    done = install(shell, "--yes")
    assert done == {"changed": True, "workspace": "main", "apps": ["small"], "version": "1.0", "withheld": []}
    assert install(shell)["changed"] is False
    # An upgrade that asks for no more needs no new agreement.
    write(folder, version="1.1")
    shell("build", folder, "-o", "p.remix")
    assert install(shell)["version"] == "1.1"
    write(folder, version="1.2", grants={"ffis": ["$crypto_*"]})
    shell("build", folder, "-o", "p.remix")
    assert "small: $crypto_*" in install(shell, fails=2)["message"]
    workspace = store.workspace("main")
    assert workspace.app("small").version == "1.1"
    assert install(shell, "--yes", "--grant", "$crypto_sha256")["withheld"] == ["$crypto_*"]
    grants = workspace.app("small").grants
    assert grants.allows("$crypto_sha256") and not grants.allows("$crypto_md5")
    write(folder, version="1.0")
    shell("build", folder, "-o", "p.remix")
    assert "--force" in shell("install", "--help")
    assert "which is newer" in install(shell, fails=1)["message"]
    assert install(shell, "--force")["version"] == "1.0"


def test_powers_that_the_profile_does_not_have_are_told(shell: Shell, folder: Path) -> None:
    write(folder, grants={"ffis": ["$crypto_mb5", "$crypto_md5", "$zzz_*"]})
    said = [
        "no FFI of this profile is called '$crypto_mb5'; did you mean '$crypto_md5'?",
        "no FFI of this profile begins with '$zzz_'; `mixkit ffi list` shows what there is",
    ]
    assert shell.json("build", folder, "-o", "p.remix")["warnings"] == said
    assert shell.json("inspect", "p.remix")["warnings"] == said
    shown = shell._run(("inspect", "p.remix"), 0)
    assert f"warning: {said[0]}" in shown.stderr and said[0] not in shown.stdout
    refused = install(shell, "--yes", "--grant", "$crypto_mb", fails=2)
    assert "did you mean '$crypto_md5'?" in refused["message"]
    assert install(shell, "--yes", "--grant", "$zzz_x", "--grant", "$crypto_*")["warnings"] == said


def test_inspect_tells_that_code_contradicts_the_package(shell: Shell, folder: Path, code: bytes) -> None:
    from mixkit.package.build import pack

    document = json.loads((folder / "manifest.json").read_text())
    document["apps"]["small"]["agents"] = {"ecko": {"code": "code/small/small.wasm"}}
    entries = {"manifest.json": lambda: json.dumps(document).encode(), "code/small/small.wasm": lambda: code}
    (shell.folder / "p.remix").write_bytes(pack(entries))
    (warning,) = shell.json("inspect", "p.remix")["warnings"]
    assert "found 'ecko'; did you mean 'echo'?" in warning
    assert install(shell, "--yes", fails=1)["message"] == warning


def test_a_package_is_built_without_its_profile(shell: Shell, folder: Path) -> None:
    (shell.folder / "lacking.toml").write_text('plugins = ["nobody-has-this"]')
    shell.profile = str(shell.folder / "lacking.toml")
    (warning,) = shell.json("build", folder, "-o", "p.remix")["warnings"]
    assert "the profile does not load" in warning
    assert (shell.folder / "p.remix").exists()
    # A package that asks for nothing needs no profile at all.
    write(folder, grants={})
    assert "warnings" not in shell.json("build", folder, "-o", "p.remix")


def importing(name: str) -> bytes:
    """A guest like `code` that imports one function more."""
    from wasmtime import wat2wasm

    entries = "".join(
        f'(func (export "mix_entry_{entry}") (param i32 i32) (result i64) (i64.const 0))'
        for entry in ("echo", "panic")
    )
    alloc = '(func (export "mix_alloc") (param i32) (result i32) (i32.const 0))'
    memory = '(memory (export "memory") 1)'
    return bytes(wat2wasm(f'(module (import "mix" "{name}" (func)) {memory} {alloc} {entries})'))


def test_install_refuses_what_cannot_run_here(shell: Shell, folder: Path, store: WorkspaceStore) -> None:
    write(folder, grants={"options": {"http.hosts": ["example.com"]}})
    shell("build", folder, "-o", "p.remix")
    assert "http.hosts" in install(shell, "--yes", fails=1)["message"]
    (folder / "small.wasm").write_bytes(b"\0asm\1\0\0\0")
    write(folder)
    shell("build", folder, "-o", "p.remix")
    assert "code/small/small.wasm: the code of agent 'echo'" in install(shell, "--yes", fails=1)["message"]
    unlinkable = importing("fii")
    (folder / "small.wasm").write_bytes(unlinkable)
    shell("build", folder, "-o", "p.remix")
    assert "import mix.fii: no host function of that name" in install(shell, "--yes", fails=1)["message"]
    # Nor is the workspace left behind that it was to be the first app of.
    assert store.list() == []


@pytest.mark.parametrize("found", ["empty", "filled", "deleted"])
def test_a_workspace_that_others_fill_meanwhile_is_not_taken_back(store: WorkspaceStore, found: str) -> None:
    with pytest.raises(PackageError), made_workspace(store, "main") as workspace:
        if found == "filled":
            workspace.create_app("others")
        elif found == "deleted":
            store.delete("main")
        raise PackageError("it is refused")
    assert store.list() == (["main"] if found == "filled" else [])


def test_install_runs_the_setup(shell: Shell, folder: Path) -> None:
    write(folder, setup="panic")
    shell("build", folder, "-o", "p.remix")
    assert "not ready!" in install(shell, "--yes", fails=1)["message"]
    assert {path.name for path in (shell.folder / "ws").iterdir()} == {".lock"}
    write(folder, setup="echo")
    shell("build", folder, "-o", "p.remix")
    assert install(shell, "--yes")["changed"] is True


@pytest.mark.parametrize(("answer", "installed"), [("y\n", ["small"]), ("n\n", [])])
def test_install_asks_at_a_terminal(
    shell: Shell, folder: Path, store: WorkspaceStore, answer: str, installed: list[str]
) -> None:
    shell("build", folder, "-o", "p.remix")
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "install", "p.remix", "--ws-dir", "ws", "--ws", "main"],
        cwd=shell.folder, stdin=terminal, stdout=terminal, stderr=terminal, close_fds=True,
    )  # fmt: skip
    os.close(terminal)
    shown, deadline = b"", time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if not select.select([main], [], [], 1)[0]:
                continue
            try:
                shown += os.read(main, 1024)
            except OSError:
                break
            if b"with these powers? [y/N]" in shown and answer:
                os.write(main, answer.encode())
                answer = ""
        process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()
        os.close(main)
    assert b"$crypto_md5" in shown
    assert (store.workspace("main").apps() if store.list() else []) == installed


def test_records_of_a_package_are_in_the_database_of_its_app(
    folder: Path, shell: Shell, store: WorkspaceStore
) -> None:
    write(folder, save_options={"OriginalIdAlways": True})
    (folder / "records").mkdir()
    (folder / "records" / "small.ndjson").write_text(
        '{"_rmx_id": "rome", "n": 1}\n{"_rmx_id": "oslo", "near": {"_rmx_type": "{tag}case:db.ref", "_rmx_value": "rome"}}\n'
    )
    shell("build", folder, "-o", "p.remix")
    for _ in range(2):
        install(shell, "--yes")
    with Database(store.workspace("main").place("small").home / "v2") as database:
        assert [row["_rmx_id"].id for row in database.query("true")] == ["rome", "oslo"]
        assert [row["_rmx_id"].id for row in database.query("near.n == 1")] == ["oslo"]
        assert database.stats()["versions"] == 2


def test_records_that_are_refused_leave_no_app(folder: Path, shell: Shell, store: WorkspaceStore) -> None:
    (folder / "records").mkdir()
    (folder / "records" / "small.ndjson").write_text('{"n": 1}\n{"n": \n')
    shell("build", folder, "-o", "p.remix")
    assert "line 2" in install(shell, "--yes", fails=1)["message"]
    assert store.list() == []


def test_a_profile_whose_storage_forgets(folder: Path, shell: Shell) -> None:
    shell("build", folder, "-o", "p.remix")
    command = [part for part in COMMAND if part not in ("--set", "storage=mixquery")]
    command += ["install", "p.remix", "--ws-dir", "ws", "--ws", "main", "--yes"]
    done = subprocess.run(command, cwd=shell.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "outlives the process, found 'memory'" in done.stderr
    assert not (shell.folder / "ws").exists()


def test_history(folder: Path, shell: Shell) -> None:
    shell("build", folder, "-o", "p.remix")
    install(shell, "--yes")
    write(folder, version="1.1", grants={"ffis": ["$crypto_*"]})
    shell("build", folder, "-o", "p.remix")
    install(shell, "--yes", "--grant", "$crypto_sha256")
    where = ("--ws-dir", "ws", "--ws", "main")
    first, second = shell.json("history", "small", *where)
    assert (first["what"], first["package"], first["version"], first["signer"]) == (
        "installed",
        "small",
        "1.0",
        None,
    )
    assert first["granted"] == [{"ffis": ["$crypto_md5"], "options": {}}]
    assert second["granted"] == [
        {"ffis": ["$crypto_*"], "options": {}}, {"ffis": ["$crypto_sha256"], "options": {}},
    ]  # fmt: skip
    assert first["when"] < second["when"]
    shown = shell("history", "small", *where)
    assert "1.1" in shown and "$crypto_sha256" in shown
    assert "no app 'other' was ever" in shell("history", "other", *where, fails=1)
