"""The vault against somebody who can write its file, against other processes, and against its own end."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mix_secrets.names import Name
from mix_secrets.vault import Vault

from mixkit.errors import KeyRingError, StorageError
from mixkit.keyring import KeyRing

ONE, TWO = bytes(range(32)), bytes(range(32, 64))
RING, BOTH, NEW = KeyRing([ONE], "a test"), KeyRing([TWO, ONE], "a test"), KeyRing([TWO], "a test")
A = Name("shop.1", "ada", "secret", "stripe")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.1").mkdir()
    return tmp_path / ".secrets"


def sql(folder: Path, text: str, *values: Any) -> list[Any]:
    with sqlite3.connect(folder / "secrets.db") as db:
        found = db.execute(text, values).fetchall()
    db.close()
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300),
    st.text(max_size=20),
    st.text(max_size=20),
    st.dictionaries(st.text(), st.integers(-9, 9)),
)
def test_what_is_stored_is_read(
    folder: Path, value: bytes, user: str, name: str, extra: dict[str, int]
) -> None:
    vault = Vault(folder, "main", RING)
    try:
        called = Name("shop.1", user, "token", name)
        vault.put(called, value, extra)
        assert vault.get(called) == value and vault.extra(called) == extra
    finally:
        vault.close()


@given(st.lists(st.text(max_size=5), min_size=8, max_size=8), st.integers(0, 9), st.integers(0, 9))
def test_no_two_places_are_the_same(parts: list[str], version: int, key: int) -> None:
    one, other = Name(*parts[:4]), Name(*parts[4:])  # type: ignore[arg-type]
    same = one.associated("w", version, key) == other.associated("w", version, key)
    assert same == (one == other)
    assert one.associated("w", version, key) != one.associated("w", version + 1, key)
    assert one.associated("w", version, key) != one.associated("w", version, key + 1)
    assert one.associated("w", version, key) != one.associated("v", version, key)


@pytest.mark.parametrize(
    "change",
    [
        "sealed = (SELECT sealed FROM secrets WHERE user = 'bob')",
        "sealed = (SELECT sealed FROM secrets WHERE name = 'other')",
        "sealed = (SELECT sealed FROM secrets WHERE kind = 'token')",
        "sealed = (SELECT sealed FROM secrets WHERE app = 'crm.1')",
        "version = version + 1",
        "key = key + 1",
        "sealed = substr(sealed, 1, length(sealed) - 1)",
        "sealed = substr(sealed, 1, 11)",
        "sealed = x''",
        "sealed = CAST(sealed || x'00' AS BLOB)",
    ],
)
def test_what_was_moved_or_changed_does_not_open(folder: Path, change: str) -> None:
    vault = Vault(folder, "main", RING)
    (folder.parent / "crm.1").mkdir()
    for name in (
        A,
        A._replace(user="bob"),
        A._replace(name="other"),
        A._replace(kind="token"),
        A._replace(app="crm.1"),
    ):
        vault.put(name, b"value of one")
    vault.close()
    sql(
        folder,
        f"UPDATE secrets SET {change} WHERE app = 'shop.1' AND user = 'ada' AND kind = 'secret' AND name = 'stripe'",
    )
    with pytest.raises(StorageError, match="damaged, or belongs somewhere else") as raised:
        vault.get(A)
    assert "value of one" not in str(raised.value)
    assert vault.get(A._replace(user="bob")) == b"value of one"
    vault.put(A, b"again")
    assert vault.get(A) == b"again"
    vault.close()


def test_an_older_value_under_a_newer_version_does_not_open(folder: Path) -> None:
    vault = Vault(folder, "main", RING)
    vault.put(A, b"old")
    vault.close()
    ((old,),) = sql(folder, "SELECT sealed FROM secrets")
    vault.put(A, b"new")
    vault.close()
    sql(folder, "UPDATE secrets SET sealed = ?", old)
    with pytest.raises(StorageError, match="belongs somewhere else"):
        vault.get(A)
    vault.close()


def test_a_vault_of_another_workspace_does_not_open(folder: Path) -> None:
    vault = Vault(folder, "main", RING)
    vault.put(A, b"value")
    vault.close()
    other = Vault(folder, "second", RING)
    with pytest.raises(KeyRingError, match="belongs somewhere else"):
        other.get(A)
    other.close()


def test_another_master_key_opens_nothing_and_makes_nothing(folder: Path) -> None:
    vault = Vault(folder, "main", RING)
    vault.put(A, b"value")
    vault.close()
    wrong = Vault(folder, "main", NEW)
    for call in (lambda: wrong.get(A), lambda: wrong.put(A, b"x"), wrong.rotate):
        with pytest.raises(KeyRingError, match="needs the key"):
            call()
    wrong.close()
    assert vault.get(A) == b"value"
    vault.close()


def test_a_file_that_is_no_vault_is_named(folder: Path) -> None:
    folder.mkdir()
    (folder / "secrets.db").write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match=r"secrets\.db.*failed"):
        Vault(folder, "main", RING).get(A)


def test_rotation(folder: Path) -> None:
    vault = Vault(folder, "main", RING)
    names = [A._replace(name=f"n{number}") for number in range(250)]
    for name in names:
        vault.put(name, name.name.encode(), {"of": name.name})
    assert vault.rotate() == 0
    vault.close()
    both = Vault(folder, "main", BOTH)
    assert both.rotate() == 250
    assert both.rotate() == 0
    both.close()
    assert len(sql(folder, "SELECT * FROM data_keys")) == 1
    new = Vault(folder, "main", NEW)
    assert all(new.get(name) == name.name.encode() and new.extra(name) == {"of": name.name} for name in names)
    new.close()
    with pytest.raises(KeyRingError):
        vault.get(A._replace(name="n1"))
    vault.close()


WORKER = """
import sys
from pathlib import Path
from mix_secrets.names import Name
from mix_secrets.vault import Vault
from mixkit.keyring import KeyRing

what, folder, number = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
ring = KeyRing([bytes(range(32, 64)), bytes(range(32))], "a test")
vault = Vault(folder, "main", ring)
if what == "rotate":
    print("ready", flush=True)
    vault.rotate()
else:
    for round in range(40):
        own = Name("shop.1", number, "secret", f"n{round}")
        vault.put(own, f"{number} {round}".encode())
        vault.put(Name("shop.1", "all", "secret", "shared"), b"x" * 50)
        assert vault.get(own) == f"{number} {round}".encode()
        assert vault.get(Name("shop.1", "all", "secret", "shared")) == b"x" * 50
"""


def start(what: str, folder: Path, number: int = 0) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WORKER, what, str(folder), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def test_four_processes_at_once_while_it_is_rotated(folder: Path) -> None:
    vault = Vault(folder, "main", RING)
    vault.put(A, b"value")
    workers = [start("write", folder, number) for number in range(4)]
    both = Vault(folder, "main", BOTH)
    while any(worker.poll() is None for worker in workers):
        both.rotate()
        time.sleep(0.01)
    assert [worker.wait(60) for worker in workers] == [0] * 4
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.close()
    both.rotate()
    new = Vault(folder, "main", NEW)
    assert new.get(A) == b"value"
    versions = [entry.version for entry in new.entries()]
    assert len(versions) == len(set(versions)) == 4 * 40 + 2
    for item in (vault, both, new):
        item.close()


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.02])
def test_a_rotation_that_is_killed_goes_on_later(folder: Path, delay: float) -> None:
    vault = Vault(folder, "main", RING)
    names = [A._replace(name=f"n{number}") for number in range(300)]
    for name in names:
        vault.put(name, name.name.encode())
    vault.close()
    process = start("rotate", folder)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(60)
    process.stdout.close()
    both = Vault(folder, "main", BOTH)
    assert all(both.get(name) == name.name.encode() for name in names)
    both.put(A, b"between")
    both.rotate()
    assert both.rotate() == 0
    both.close()
    new = Vault(folder, "main", NEW)
    assert all(new.get(name) == name.name.encode() for name in names) and new.get(A) == b"between"
    new.close()


def test_a_process_that_forks_does_not_use_its_parents_file(folder: Path) -> None:
    vault = Vault(folder, "main", RING)
    vault.put(A, b"value")
    child = os.fork()
    if not child:
        try:
            vault.put(A._replace(name="child"), b"of the child")
            os._exit(0 if vault.get(A) == b"value" else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert vault.get(A._replace(name="child")) == b"of the child"
    vault.close()
