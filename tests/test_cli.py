"""The command line as a person meets it: help, exit statuses, JSON, errors, pipes, completion."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from mixkit import __version__
from mixkit.cli.app import cli
from mixkit.cli.group import Group

Run = Callable[..., subprocess.CompletedProcess[str]]

OWN = {"codec", "completion", "doctor", "error-decode", "ffi", "plugin", "plugins", "profile", "remix", "run"}
LIBRARIES = {
    "aiohttp", "websockets", "paho", "duckdb", "pyarrow", "obstore", "cryptography", "falcon", "uvicorn", "gunicorn",
    "wasmtime", "ziglang", "asyncio", "ssl", "http.client", "subprocess", "multiprocessing",
}  # fmt: skip
"""What plugins stand on, and what of Python's own takes long: imported when it is used."""
HEAVY = LIBRARIES | {"msgspec", "logging", "mixkit.kernel"}


def walk(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group, with what the user types for it."""
    found: list[tuple[tuple[str, ...], click.Command]] = []
    context = click.Context(group, info_name="mixkit", obj=None)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += walk(command, (*path, name))
        else:
            found.append(((*path, name), command))
    return found


def test_version(mixkit_cli: Run) -> None:
    assert mixkit_cli("--version").stdout == f"mixkit {__version__}\n"


def test_help_lists_our_commands_and_those_of_plugins(mixkit_cli: Run) -> None:
    done = mixkit_cli("--help")
    assert done.returncode == 0
    listed = {line.split()[0] for line in done.stdout.split("Commands:")[1].splitlines() if line.strip()}
    assert listed >= OWN | {"serve", "wasm"}


def imported_by(*args: str) -> set[str]:
    """The modules that a command has imported at its end, in a process of its own."""
    script = (
        "import sys, contextlib, io\n"
        "from mixkit.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "    status = main(sys.argv[1:])\n"
        "assert status == 0 and len(out.getvalue()) > 300\n"
        "print('\\n'.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_help_imports_nothing_heavy_and_no_command() -> None:
    loaded = imported_by("-p", "all", "--help")
    assert not loaded & HEAVY
    assert not {name for name in loaded if name.startswith("mixkit.cli.")} - {
        "mixkit.cli.app",
        "mixkit.cli.failure",
        "mixkit.cli.group",
        "mixkit.cli.output",
        "mixkit.cli.plugin_commands",
        "mixkit.cli.project",
        "mixkit.cli.session",
        "mixkit.cli.streams",
    }


@pytest.mark.parametrize("args", [("ffi", "list"), ("profile", "show"), ("plugins",)])
def test_loading_all_plugins_imports_none_of_their_libraries(args: tuple[str, ...]) -> None:
    loaded = imported_by("-p", "all", *args)
    assert {f"mix_{name}" for name in ("http", "ws", "mqtt", "crypto", "wasm")} <= loaded or args[0] != "ffi"
    assert not loaded & LIBRARIES


def test_what_a_command_starts_with_is_not_looked_through_for_garbage() -> None:
    script = """
import gc
from mixkit import cli
from mixkit.cli import app, session

def main(args):
    assert not gc.isenabled()
    with session.Session("test").kernel():
        assert gc.isenabled() and gc.get_freeze_count() > 10_000
    return 0

app.main = main
assert cli.main([]) == 0
assert gc.isenabled() and gc.get_freeze_count() == 0, "who calls main goes on as before"
with session.Session("test").kernel():
    assert gc.get_freeze_count() == 0, "nobody has switched it off"
print("done")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_every_command_has_help_and_json() -> None:
    commands = walk(cli)
    assert len(commands) > 15
    for path, command in commands:
        # One runs, the other speaks a protocol, until they are ended.
        if path[0] not in ("serve", "mcp"):
            names = {name for param in command.params for name in param.opts}
            assert command.help, path
            assert "--json" in names, path


def test_no_arguments_show_the_help(mixkit_cli: Run) -> None:
    done = mixkit_cli()
    assert done.returncode == 2
    assert "Commands:" in done.stderr


def test_wrong_usage_is_status_2_and_suggests(mixkit_cli: Run) -> None:
    done = mixkit_cli("profil")
    assert done.returncode == 2
    assert "profile" in done.stderr.split("\n", 3)[3]


@pytest.mark.parametrize(
    "args", [("profile", "show", "nix"), ("-p", "nix", "ffi", "list"), ("run", "nix.wasm", "x")]
)
def test_an_error_is_one_line_and_status_1(mixkit_cli: Run, args: tuple[str, ...]) -> None:
    done = mixkit_cli(*args)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("mixkit: error: ")
    assert "nix" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_as_json(mixkit_cli: Run) -> None:
    done = mixkit_cli("ffi", "show", "$nix", "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert (answer["ok"], answer["kind"]) == (False, "not_found")
    assert "$nix" in answer["message"]


def test_wrong_usage_as_json(mixkit_cli: Run) -> None:
    done = mixkit_cli("ffi", "show", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["kind"] == "usage"


def test_the_traceback_shows_on_request_only(mixkit_cli: Run) -> None:
    assert "Traceback" in mixkit_cli("-p", "nix", "ffi", "list", env={"MIXKIT_DEBUG": "1"}).stderr


@pytest.mark.parametrize("text", ["limits", "=3", "limits..wall_time=3", ".=1"])
def test_a_malformed_override_is_wrong_usage(mixkit_cli: Run, text: str) -> None:
    assert mixkit_cli("--set", text, "ffi", "list").returncode == 2


def test_an_override_reaches_the_kernel(mixkit_cli: Run) -> None:
    done = mixkit_cli("-p", "test", "--set", "limits.wall_time=3", "profile", "show", "--json")
    values = {row["key"]: row for row in json.loads(done.stdout)}
    assert values["limits.wall_time"] == {"key": "limits.wall_time", "value": 3.0, "origin": "command line"}


def test_a_misspelt_override_is_refused(mixkit_cli: Run) -> None:
    done = mixkit_cli("-p", "test", "--set", "limits.wal_time=3", "ffi", "list")
    assert done.returncode == 1
    assert "wal_time" in done.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "mixkit", "ffi", "list", "--json"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 1


def test_profiles_are_listed_and_shown(mixkit_cli: Run) -> None:
    names = {row["name"] for row in json.loads(mixkit_cli("profile", "list", "--json").stdout)}
    assert names >= {"all", "agent_server", "snowflake", "wasi", "test"}
    path = mixkit_cli("profile", "path", "wasi").stdout.strip()
    assert Path(path).name == "wasi.toml"
    rows = [line.split("\t") for line in mixkit_cli("profile", "show", "wasi").stdout.splitlines()]
    assert ["limits.outgoing_bytes", "0", "wasi.toml"] in rows


def test_secret_settings_are_not_shown(mixkit_cli: Run) -> None:
    shown = mixkit_cli("--set", "settings.server.token=hunter2", "profile", "show").stdout
    assert "hunter2" not in shown
    assert "settings.server.token\t(not shown)\tcommand line" in shown


def test_ffis_are_listed_shown_and_called(mixkit_cli: Run) -> None:
    listed = json.loads(mixkit_cli("ffi", "list", "$core_", "--json").stdout)
    assert "$core_now" in {item["name"] for item in listed}
    assert all(item["name"].startswith("$core_") for item in listed)
    assert (
        "$crypto_sha256(data: string | binary) -> string"
        in mixkit_cli("ffi", "show", "$crypto_sha256").stdout
    )
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert mixkit_cli("ffi", "call", "$crypto_sha256", '["abc"]').stdout == f'"{digest}"\n'
    assert mixkit_cli("ffi", "call", "$crypto_sha256", "-", input='["abc"]').stdout == f'"{digest}"\n'


def test_an_ffi_call_ends_at_its_deadline(mixkit_cli: Run) -> None:
    done = mixkit_cli("--set", "limits.wall_time=0.3", "ffi", "call", "$core_sleep", "[30000]")
    assert done.returncode == 1
    assert "wall_time" in done.stderr


@pytest.mark.parametrize("args", ['{"a": 1}', "[", "@/nix", '["\\ud800"]'])
def test_malformed_arguments_are_wrong_usage(mixkit_cli: Run, args: str) -> None:
    done = mixkit_cli("ffi", "call", "$core_now", args)
    assert done.returncode == 2, done
    assert "ARGS" in done.stderr


def test_a_byte_order_mark_is_not_part_of_an_argument(mixkit_cli: Run, tmp_path: Path) -> None:
    file = tmp_path / "args"
    file.write_bytes(b'\xef\xbb\xbf["x",\r\n1]')
    for args, given in ((f"@{file}", None), ("-", "\ufeff[]")):
        done = mixkit_cli("ffi", "call", "$core_now", args, input=given)
        assert "UTF-8" not in done.stderr and "expected JSON" not in done.stderr, done
    file.write_bytes(b'\xef\xbb\xbf["x",\n"caf\xe9"]')
    done = mixkit_cli("ffi", "call", "$core_now", f"@{file}")
    assert done.returncode == 2
    assert "expected UTF-8, found the byte 0xe9 in line 2 (byte 11 of all)" in done.stderr


def test_codec_goes_there_and_back(mixkit_cli: Run, tmp_path: Path) -> None:
    text = '{"a":[1,2.5,{"_rmx_type":"{tag}bin","_rmx_value":"AAE="}]}'
    words = mixkit_cli("codec", "encode", "--hex", input=text).stdout
    assert mixkit_cli("codec", "decode", "--hex", input=words).stdout.strip() == text
    marked = mixkit_cli("codec", "encode", "--hex", input="\ufeff" + text).stdout
    assert marked == words
    (tmp_path / "words").write_bytes(bytes.fromhex(words))
    checked = json.loads(mixkit_cli("codec", "check", str(tmp_path / "words"), "--json").stdout)
    assert (checked["ok"], checked["kind"]) == (True, "map")


@pytest.mark.parametrize(("words", "kind"), [("", "codec"), ("ff000000", "codec"), ("01000000 00", "codec")])
def test_codec_check_refuses(mixkit_cli: Run, words: str, kind: str) -> None:
    done = mixkit_cli("codec", "check", "--hex", "--json", input=words)
    assert done.returncode == 1
    assert json.loads(done.stdout)["kind"] == kind


def test_codec_input_that_is_not_hexadecimal_is_wrong_usage(mixkit_cli: Run) -> None:
    assert mixkit_cli("codec", "decode", "--hex", input="xyz").returncode == 2
    assert mixkit_cli("codec", "encode", input="[").returncode == 1


def test_an_error_is_decoded(mixkit_cli: Run) -> None:
    error = {"run_error": {"message": "bo\x1b[31mom", "code": "guest", "agent": "a", "backtrace": ["f at 3"]}}
    done = mixkit_cli("error-decode", input=json.dumps(error))
    assert done.stdout.splitlines() == ["a: bo\\x1b[31mom [guest]", "  at f at 3"]
    assert mixkit_cli("error-decode", "[]").returncode == 2


def test_doctor_says_what_is_in_force(mixkit_cli: Run) -> None:
    done = mixkit_cli("-p", "test", "--set", "limits.wall_time=7", "doctor", "--json")
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert "wall_time 7.0 s" in found["limits"]["message"]
    assert "at most 268435456 bytes and 16384 mappings" in found["idle instances"]["message"]
    assert found["engine"]["message"].startswith("wasmtime ")
    assert done.returncode == int(any(check["level"] == "error" for check in found.values()))


def test_doctor_says_which_engine_runs_a_module(mixkit_cli: Run, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.wasm", tmp_path / "bad.wasm"
    good.write_bytes(b"\0asm\x01\0\0\0")
    bad.write_bytes(b"something else")
    options = ("--code", str(good), "--code", str(bad))
    done = mixkit_cli("-p", "test", "--set", "settings.wasmtime.cache_dir=off", "doctor", *options, "--json")
    found = {check["name"]: (check["level"], check["message"]) for check in json.loads(done.stdout)}
    assert found["engine of good.wasm"] == ("ok", "wasmtime; wasmtime takes it")
    level, message = found["engine of bad.wasm"]
    assert level == "error" and "expected a Wasm module" in message
    assert done.returncode == 1


def test_doctor_warns_of_idle_instances_that_may_take_all_mappings(mixkit_cli: Run) -> None:
    done = mixkit_cli("-p", "test", "--set", "settings.kernel.idle_mappings=2000000000", "doctor", "--json")
    [idle] = [check for check in json.loads(done.stdout) if check["name"] == "idle instances"]
    if Path("/proc/sys/vm/max_map_count").exists():
        assert idle["level"] == "warning" and "settings.kernel.idle_mappings" in idle["remedy"]


def test_doctor_works_without_a_profile(mixkit_cli: Run) -> None:
    done = mixkit_cli("-p", "nix", "doctor", "--json")
    assert done.returncode == 1
    found = {check["name"]: check["level"] for check in json.loads(done.stdout)}
    assert found["profile"] == "error"
    assert found["python"] == "ok"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(mixkit_cli: Run, shell: str) -> None:
    assert "_MIXKIT_COMPLETE" in mixkit_cli("completion", shell).stdout


def test_bash_completes_commands_and_options() -> None:
    def complete(*words: str) -> set[str]:
        env = {**os.environ, "_MIXKIT_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["mixkit", *words])}
        env["COMP_CWORD"] = str(len(words))
        done = subprocess.run(
            [sys.executable, "-m", "mixkit"], env=env, capture_output=True, text=True, check=False
        )
        return {line.partition(",")[2] for line in done.stdout.splitlines()}

    assert complete("pro") == {"profile"}
    assert complete("ser") == {"serve"}
    assert complete("profile", "") == {"list", "path", "show"}
    assert "--json" in complete("ffi", "list", "--")


def test_a_group_refuses_a_second_command_of_a_name() -> None:
    group = Group()
    group.lazy("one", "package.cli:one", "First.")
    with pytest.raises(ValueError, match="exists already"):
        group.lazy("one", "package.cli:other", "Second.")


@pytest.mark.parametrize(
    "target", ["package.cli", "package.cli:", ":one", "package..cli:one", "os:system('x')"]
)
def test_a_group_refuses_what_is_no_import_string(target: str) -> None:
    with pytest.raises(ValueError, match="import string"):
        Group().lazy("one", target, "First.")


def test_our_lazy_commands_exist() -> None:
    assert isinstance(cli, Group)
    for name, lazy in cli.lazies.items():
        module, _, attribute = lazy.target.partition(":")
        if name != "remix" or importlib.util.find_spec(module):
            assert isinstance(getattr(importlib.import_module(module), attribute), click.Command), name
