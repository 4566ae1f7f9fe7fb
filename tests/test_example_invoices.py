"""examples/invoices, as a person uses it: built, installed, given its secret and run from the command line."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mix_wasm.build import build
from mix_wasm.inspect import inspect

from mixkit.cli import main
from mixkit.package import build as package_build
from mixkit.schema_text import parse_params

INVOICES = Path(__file__).parents[1] / "examples" / "invoices"
KEY = "a key that nobody guesses"
PARAMS = {"number": "2026-0042", "customer": "Ann Müller", "amount": 129.9}
TEXT = "Invoice 2026-0042\nCustomer: Ann Müller\nAmount: 129.90\n".encode()

pytestmark = pytest.mark.slow

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that makes the package, with the guest built in it."""
    folder = tmp_path_factory.mktemp("invoices")
    shutil.copy(INVOICES / "manifest.json", folder)
    build(INVOICES, folder / "build" / "invoices.wasm")
    return folder


@pytest.fixture
def shell(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """`shell("ws", "list", input=…)` answers exit status, stdout and stderr; the package is installed in `main`."""
    monkeypatch.chdir(tmp_path)

    def command(*args: str, input: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(input.encode())))
        status = main(["-p", "agent_server", "--set", "settings.server.ws_dir=ws", *args])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    Path("invoices.remix").write_bytes(package_build.build(source))
    status, _, err = command("remix", "install", "invoices.remix", "--ws", "main", "--yes")
    assert status == 0, err
    return command


def issue(shell: Shell, **changes: Any) -> tuple[int, str, str]:
    return shell("run", "main/invoices/issue", json.dumps(PARAMS | changes), "--json")


def test_an_invoice_is_written_and_signed(shell: Shell) -> None:
    assert shell("secrets", "set", "main/invoices", "signing-key", input=KEY + "\n")[0] == 0
    status, out, err = issue(shell)
    assert status == 0, err
    assert KEY not in out + err
    digest = hashlib.sha256(TEXT).hexdigest()
    signature = hmac.digest(KEY.encode(), digest.encode(), "sha256").hex()
    expected = {"path": "/invoices/2026-0042.txt", "sha256": digest, "signature": signature}
    assert json.loads(out)["value"] == expected, out
    assert shell("files", "get", "/invoices/2026-0042.txt", "copy.txt", "--app", "main/invoices")[0] == 0
    assert Path("copy.txt").read_bytes() == TEXT

    # A number is used once.
    status, out, err = issue(shell, amount=1)
    assert status != 0 and "2026-0042" in out + err
    assert shell("files", "get", "/invoices/2026-0042.txt", "again.txt", "--app", "main/invoices")[0] == 0
    assert Path("again.txt").read_bytes() == TEXT


def test_without_the_secret_it_says_how_to_store_it_and_writes_nothing(shell: Shell) -> None:
    status, out, err = issue(shell)
    assert status != 0 and "mixkit secrets set WS/invoices signing-key" in out + err
    assert "2026-0042" not in shell("files", "ls", "/", "--app", "main/invoices")[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [("number", ""), ("number", "a/b"), ("number", "1" * 41), ("customer", ""), ("customer", "Ann\nAmount: 0"),
     ("amount", -1), ("amount", 1e13)],
)  # fmt: skip
def test_what_is_no_invoice_is_refused(shell: Shell, name: str, value: object) -> None:
    status, out, err = issue(shell, **{name: value})
    assert status != 0 and f"{name}: expected" in out + err


@pytest.mark.parametrize("taken", ["$crypto_hmacSha256", "$crypto_sha256", "$file_create", "$secrets_get"])
def test_it_needs_each_power_that_it_asks_for(shell: Shell, taken: str) -> None:
    assert shell("secrets", "set", "main/invoices", "signing-key", input=KEY)[0] == 0
    asked = json.loads((INVOICES / "manifest.json").read_text())["grants"]["ffis"]
    left = [part for name in asked if name != taken for part in ("--grant", name)]
    status, out, err = shell("run", "main/invoices/issue", json.dumps(PARAMS), *left)
    assert status != 0 and taken in out + err


def test_manifests_of_guest_and_package_agree(source: Path) -> None:
    guest = inspect((source / "build" / "invoices.wasm").read_bytes()).manifest
    package = json.loads((source / "manifest.json").read_text())
    assert guest is not None and guest.grants is not None
    assert guest.grants.layers() == [(package["grants"]["ffis"], package["grants"]["options"])]
    agents = package["apps"]["invoices"]["agents"]
    assert {agent: parse_params(spec["inParams"]) for agent, spec in agents.items()} == {
        entry.name: entry.params for entry in guest.entries.values()
    }
