"""`mixkit run`: modules, packages and folders, with their powers, limits and errors."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Guest = Callable[..., bytes]

SPIN = "(loop $again (br $again)) (unreachable)"
CALL_SHA = (
    "(call $call (i32.const 64) (i32.const 14) (local.get $p) (local.get $n))",
    '(data (i32.const 64) "$crypto_sha256")',
)


@pytest.fixture(scope="session")
def module(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module with the entries echo, spin, trap, panic and hash, which calls `$crypto_sha256`."""
    panic = "(call $panic (i32.const 96) (i32.const 10)) (unreachable)"
    path = tmp_path_factory.mktemp("run") / "small.wasm"
    path.write_bytes(
        guest(
            CALL_SHA[1] + '(data (i32.const 96) "oh\\1b[31m no")',
            spin=SPIN,
            trap="(unreachable)",
            panic=panic,
            hash=CALL_SHA[0],
            greedy=f"(drop (memory.grow (i32.const 60000))) {panic}",
        )
    )
    return path


@pytest.fixture
def folder(module: Path, tmp_path: Path) -> Path:
    """A source folder of a package with two agents."""
    (tmp_path / "small.wasm").write_bytes(module.read_bytes())
    agents: dict[str, Any] = {
        "echo": {"code": "small.wasm", "description": "Says it again", "inParams": {"n": "int"}},
        "hash": {"code": "small.wasm"},
    }
    manifest = {
        "format": 3,
        "name": "small",
        "version": "1.0",
        "kind": "app",
        "apps": {"small": {"agents": agents}},
        "grants": {"ffis": ["$crypto_*"]},
        "limits": {"wall_time": 2},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_a_module_answers_tagged_json(mixkit_cli: Run, module: Path) -> None:
    done = mixkit_cli("run", str(module), "echo", '{"a":{"_rmx_type":"{tag}bin","_rmx_value":"AAE="}}')
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"a": {"_rmx_type": "{tag}bin", "_rmx_value": "AAE="}}


def test_parameters_from_options_files_and_standard_input(
    mixkit_cli: Run, module: Path, tmp_path: Path
) -> None:
    (tmp_path / "params.json").write_text('{"a": 1}')
    done = mixkit_cli(
        "run", str(module), "echo", f"@{tmp_path}/params.json", "--param", "b=2", "--param", "c=x y"
    )
    assert json.loads(done.stdout) == {"a": 1, "b": 2, "c": "x y"}
    assert json.loads(mixkit_cli("run", str(module), "echo", "-", input="[1]").stdout) == [1]
    assert mixkit_cli("run", str(module), "echo", "[1]", "--param", "b=2").returncode == 2
    assert mixkit_cli("run", str(module), "echo", "--param", "b").returncode == 2


def test_a_parameter_that_the_agent_does_not_take_is_refused(mixkit_cli: Run, folder: Path) -> None:
    done = mixkit_cli("run", str(folder), "echo", "--param", "n=1", "--param", "N=2")
    assert done.returncode == 1
    assert "expected one of the keys n, found key 'N'; did you mean 'n'?" in done.stderr


def test_an_answer_that_the_package_does_not_declare_is_an_error(mixkit_cli: Run, folder: Path) -> None:
    document = json.loads((folder / "manifest.json").read_text())
    document["apps"]["small"]["agents"]["echo"]["outParams"] = {"m": "int"}
    (folder / "manifest.json").write_text(json.dumps(document))
    done = mixkit_cli("run", str(folder), "echo", "--param", "n=1")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "entry 'echo' answered what it does not declare: expected one of the keys m, found key 'n'"
        in done.stderr
    )


def test_no_parameters_are_an_empty_map_where_there_are_names_for_them(mixkit_cli: Run, folder: Path) -> None:
    done = mixkit_cli("run", str(folder), "echo")
    assert "expected int, found nothing at .n" in done.stderr
    document = json.loads((folder / "manifest.json").read_text())
    document["apps"]["small"]["agents"]["echo"]["inParams"] = {"n?": "int"}
    (folder / "manifest.json").write_text(json.dumps(document))
    assert json.loads(mixkit_cli("run", str(folder), "echo").stdout) == {}


def test_a_grant_that_means_nothing_is_refused(mixkit_cli: Run, module: Path) -> None:
    done = mixkit_cli("run", str(module), "echo", "1", "--grant", "$cypto_*")
    assert done.returncode == 2
    assert "no FFI of this profile begins with '$cypto_'; did you mean '$crypto_*'?" in done.stderr


def test_the_result_as_a_document(mixkit_cli: Run, module: Path) -> None:
    done = mixkit_cli("run", str(module), "echo", "1", "--json")
    assert json.loads(done.stdout) == {"ok": True, "value": 1, "actions": []}


def test_without_an_entry_the_entries_are_listed(mixkit_cli: Run, module: Path, folder: Path) -> None:
    lines = mixkit_cli("run", str(module)).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["echo", "spin", "trap", "panic", "hash", "greedy"]
    listed = json.loads(mixkit_cli("run", str(folder), "--json").stdout)
    assert listed[0] == {
        "entry": "small/echo", "params": "{n: int}", "result": "data", "description": "Says it again",
    }  # fmt: skip


def test_an_unknown_entry_names_the_others(mixkit_cli: Run, module: Path) -> None:
    done = mixkit_cli("run", str(module), "ecco")
    assert done.returncode == 1
    assert "echo, spin" in done.stderr


def test_a_trap_shows_the_guest_s_frames_and_none_of_ours(mixkit_cli: Run, module: Path) -> None:
    done = mixkit_cli("run", str(module), "trap")
    assert done.returncode == 1
    first, *frames = done.stderr.splitlines()
    assert "unreachable" in first
    assert frames
    assert all(line.startswith("    at ") and ".py" not in line for line in frames)


def test_a_guest_cannot_paint_the_terminal(mixkit_cli: Run, module: Path) -> None:
    done = mixkit_cli("run", str(module), "panic")
    assert "\x1b" not in done.stderr
    assert "oh\\x1b[31m no" in done.stderr


def test_a_failed_run_as_a_document(mixkit_cli: Run, module: Path) -> None:
    done = mixkit_cli("run", str(module), "panic", "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"], answer["kind"]) == (1, False, "run_error")
    assert answer["run_error"]["agent"] == "panic"
    assert answer["run_error"]["code"] == "guest"


def test_the_timeout_narrows_the_limit_and_never_widens_it(mixkit_cli: Run, module: Path) -> None:
    done = mixkit_cli("run", str(module), "spin", "--timeout", "0.3")
    assert (done.returncode, "limit wall_time of 0.3 s" in done.stderr) == (1, True)
    done = mixkit_cli("--set", "limits.wall_time=0.3", "run", str(module), "spin", "--timeout", "50")
    assert (done.returncode, "limit wall_time of 0.3 s" in done.stderr) == (1, True)


def test_code_that_asks_for_nothing_gets_nothing_but_core(mixkit_cli: Run, module: Path) -> None:
    refused = mixkit_cli("run", str(module), "hash", '["abc"]')
    assert refused.returncode == 1
    assert "$crypto_sha256 is not granted" in refused.stderr
    allowed = mixkit_cli("run", str(module), "hash", '["abc"]', "--grant", "$crypto_*")
    assert allowed.stdout.startswith('"ba7816bf')


def test_a_package_gets_what_it_asks_for_unless_narrowed(mixkit_cli: Run, folder: Path) -> None:
    assert mixkit_cli("run", str(folder), "hash", '["abc"]').stdout.startswith('"ba7816bf')
    assert mixkit_cli("run", str(folder), "small/hash", '["abc"]').stdout.startswith('"ba7816bf')
    narrowed = mixkit_cli("run", str(folder), "hash", '["abc"]', "--grant", "$core_*")
    assert (narrowed.returncode, "not granted" in narrowed.stderr) == (1, True)


def test_parameters_of_a_package_are_checked(mixkit_cli: Run, folder: Path) -> None:
    assert mixkit_cli("run", str(folder), "echo", '{"n": 1}').stdout == '{"n":1}\n'
    done = mixkit_cli("run", str(folder), "echo", '{"n": "1"}', "--json")
    assert (done.returncode, json.loads(done.stdout)["kind"]) == (1, "type")


@pytest.mark.parametrize("content", [b"", b"\0asm", b"PK\x03\x04", b"no package"])
def test_broken_code_is_refused(mixkit_cli: Run, tmp_path: Path, content: bytes) -> None:
    for name in ("x.wasm", "x.remix"):
        (tmp_path / name).write_bytes(content)
        done = mixkit_cli("run", str(tmp_path / name), "echo")
        assert done.returncode == 1
        assert done.stderr.startswith("mixkit: error: ")
        assert "a fault of mixkit" not in done.stderr


def test_ctrl_c_stops_an_endless_guest(module: Path) -> None:
    # A shell starts background jobs with the signal ignored, and what they start inherits that.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "mixkit", "run", str(module), "spin"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            time.sleep(2)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err


def test_memory_that_is_used_up_names_limit_and_remedy(mixkit_cli: Run, module: Path) -> None:
    done = mixkit_cli("-p", "test", "run", str(module), "greedy")
    assert done.returncode == 1
    for part in ("limit memory of 67108864 bytes exceeded", "oh", "MIXKIT_LIMITS_MEMORY"):
        assert part in done.stderr


LOGGING = """
  (data (i32.const 128) "seen\\1b[2J")
  (data (i32.const 144) "mixkit: error: forged")
"""


@pytest.fixture(scope="module")
def talkative(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module whose entry `talk` logs at each level, and then what looks like a line of ours."""
    lines = "".join(f"(call $log (i32.const {level}) (i32.const 128) (i32.const 8))" for level in range(4))
    forged = "(call $log (i32.const 1) (i32.const 144) (i32.const 21))"
    path = tmp_path_factory.mktemp("talk") / "talk.wasm"
    path.write_bytes(guest(LOGGING, talk=f"{lines} {forged} (i64.const 0)"))
    return path


def test_what_a_guest_logs_is_shown_as_it_is(mixkit_cli: Run, talkative: Path) -> None:
    line = "seen\\x1b[2J"
    run = ("run", str(talkative), "talk")
    shown = mixkit_cli(*run).stderr.splitlines()
    assert shown[:4] == [line, line, line, "| mixkit: error: forged"]
    for level, count in (("debug", 4), ("warning", 2), ("error", 1)):
        assert mixkit_cli("--log-level", level, *run).stderr.splitlines().count(line) == count
    assert mixkit_cli(*run, env={"MIXKIT_LOG_LEVEL": "error"}).stderr.splitlines().count(line) == 1
    entries = [json.loads(text) for text in mixkit_cli("--log-format", "json", *run).stderr.splitlines()[:4]]
    assert [entry["level"] for entry in entries] == ["info", "warning", "error", "info"]
