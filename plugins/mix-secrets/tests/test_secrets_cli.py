"""`mixkit secrets` and what `mixkit doctor` says, by way of the command line in the process."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from mixkit.cli import main
from mixkit.kernel import Kernel
from mixkit.package import WorkspaceStore

SECRET = "sk_live_9f8e7d6c5b4a"
NEW = base64.b64encode(bytes(range(32))).decode()
Run: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("list", "main", input=…)` answers exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    with Kernel("all") as kernel:
        store = WorkspaceStore("ws", kernel.databases)
        store.create("main").create_app("shop")

    def command(*args: str, input: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(input.encode())))
        status = main(["--set", "settings.server.ws_dir=ws", *args])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command


def test_set_list_rm(run: Run, tmp_path: Path) -> None:
    status, out, err = run(
        "secrets", "set", "main/shop", "stripe", "--user", "ada", "--json", input=SECRET + "\n"
    )
    assert status == 0 and json.loads(out)["version"] == 1 and SECRET not in out + err
    status, out, _ = run(
        "secrets", "set", "main/shop", "gh", "--token", "--extra", '{"scope": "repo"}', input="t"
    )
    assert status == 0 and "token" in out
    rows = json.loads(run("secrets", "list", "main", "--json")[1])
    assert [(row["user"], row["kind"], row["name"]) for row in rows] == [
        ("", "token", "gh"),
        ("ada", "secret", "stripe"),
    ]
    assert run("secrets", "list", "main/shop", "--user", "ada")[1].count("\n") == 1
    status, _, err = run("secrets", "rm", "main/shop", "stripe")
    assert status == 1 and "no secret 'stripe' of user ''" in err
    assert run("secrets", "rm", "main/shop", "stripe", "--user", "ada")[0] == 0
    assert json.loads(run("secrets", "list", "main/shop", "--user", "ada", "--json")[1]) == []


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("set", "main", "x"), "expected WS/APP"),
        (("set", "main/shop", "x", SECRET), "unexpected extra argument"),
        (("set", "main/shop", "x", "--extra", "{}"), "goes with --token"),
        (("set", "main/shop", "x", "--token", "--extra", "[]"), "expected a JSON object"),
        (("set", "main/crm", "x"), "no app 'crm'"),
        (("list", "second"), "no workspace 'second'"),
    ],
)
def test_what_is_wrong_is_said(run: Run, args: tuple[str, ...], message: str) -> None:
    status, _, err = run("secrets", *args, input="value")
    assert status in (1, 2) and message in err


def test_a_value_that_is_too_long_is_refused(run: Run) -> None:
    status, _, err = run("secrets", "set", "main/shop", "x", input="x" * 70_000)
    assert status == 2 and "secrets.max_bytes" in err


def test_rotate(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("secrets", "set", "main/shop", "stripe", input=SECRET)
    old = (tmp_path / "ws" / ".keyring" / "keys").read_text().strip()
    monkeypatch.setenv("MIXKIT_SECRETS_KEY", NEW)
    status, _, err = run("secrets", "list", "main")
    assert status == 1 and "was sealed with the key" in err and NEW not in err
    monkeypatch.setenv("MIXKIT_SECRETS_KEY", f"{NEW} {old}")
    for sealed in (1, 0):
        answer = json.loads(run("secrets", "rotate", "--json")[1])
        assert answer["workspaces"] == [{"workspace": "main", "sealed": sealed}]
    monkeypatch.setenv("MIXKIT_SECRETS_KEY", NEW)
    assert "stripe" in run("secrets", "list", "main")[1]
    monkeypatch.delenv("MIXKIT_SECRETS_KEY")
    assert run("secrets", "list", "main")[0] == 1, "the old key alone is refused"


def found(run: Run) -> dict[str, Any]:
    checks = json.loads(run("doctor", "--json")[1])
    (check,) = [check for check in checks if "master keys" in check["name"]]
    return dict(check)


def test_doctor_says_where_the_keys_are(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "none yet" in found(run)["message"]
    assert not (tmp_path / "ws" / ".keyring").exists(), "looking makes none"
    run("secrets", "set", "main/shop", "stripe", input=SECRET)
    keys = tmp_path / "ws" / ".keyring" / "keys"
    check = found(run)
    assert check["level"] == "ok" and str(Path("ws/.keyring/keys")) in check["message"]
    assert keys.read_text().strip() not in str(check)
    keys.chmod(0o644)
    assert found(run)["level"] == "error" and "chmod 600" in found(run)["message"]
    keys.chmod(0o600)
    keys.write_text(keys.read_text()[:20])
    assert found(run)["level"] == "error" and "expected 32 bytes in base64" in found(run)["message"]
    monkeypatch.setenv("MIXKIT_SECRETS_KEY", NEW)
    check = found(run)
    assert check["level"] == "error" and "has others" in check["message"] and NEW not in str(check)


def test_what_changes_secrets_is_noted_without_them(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("secrets", "set", "main/shop", "stripe", "--user", "ada", input=SECRET)[0] == 0
    assert run("secrets", "set", "main/shop", "gh", "--token", input=SECRET)[0] == 0
    assert run("secrets", "list", "main")[0] == 0
    assert run("secrets", "rm", "main/shop", "none")[0] == 1
    assert run("secrets", "rm", "main/shop", "stripe", "--user", "ada")[0] == 0
    assert run("secrets", "rotate")[0] == 0
    old = (tmp_path / "ws" / ".keyring" / "keys").read_text().strip()
    monkeypatch.setenv("MIXKIT_SECRETS_KEY", f"{NEW} {old}")
    assert run("secrets", "rotate")[0] == 0
    _, out, _ = run("logs", "main", "--json")
    assert SECRET not in out
    found = json.loads(out)
    assert {(each["kind"], each["subject"], each["result"]) for each in found} == {
        ("configure", "operator", "ok")
    }
    assert [(each.get("app"), each["about"]) for each in found] == [
        ("shop", {"secret": "stripe", "user": "ada", "version": 1}),
        ("shop", {"token": "gh", "user": "", "version": 2}),
        ("shop", {"secret": "stripe", "user": "ada", "removed": True}),
        (None, {"sealed": 1}),
    ]
