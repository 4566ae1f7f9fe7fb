"""Commands of plugins: one that is broken, greedy or missing costs its own commands only."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Odd = Callable[..., subprocess.CompletedProcess[str]]

HOOK = "from mixkit import hookimpl\n@hookimpl\ndef mix_commands(group):\n    "


@pytest.fixture
def odd(mixkit_cli: Run, tmp_path: Path) -> Odd:
    """Runs `mixkit` with a plugin `odd` of that source beside the plugin `wasm`."""

    def run(source: str, *args: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "mix_odd.py").write_text(source)
        info = tmp_path / "mix_odd-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mix-odd\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[mixkit]\nodd = mix_odd\n")
        (tmp_path / "odd.toml").write_text('plugins = ["odd", "wasm"]\nengines = []\n')
        return mixkit_cli("-p", str(tmp_path / "odd.toml"), *args, env={"PYTHONPATH": str(tmp_path)})

    return run


def test_a_command_is_listed_and_runs(odd: Odd, tmp_path: Path) -> None:
    (tmp_path / "odd_cli.py").write_text(
        "import click\n@click.command()\n@click.pass_obj\ndef hi(session):\n    click.echo(session.profile)\n"
    )
    done = odd(HOOK + "group.lazy('hi', 'odd_cli:hi', 'Says hi.')", "hi")
    assert done.stdout == f"{tmp_path}/odd.toml\n"


def test_what_a_plugin_prints_as_it_loads_is_no_output(odd: Odd, tmp_path: Path) -> None:
    (tmp_path / "odd_cli.py").write_text("import click\n@click.command()\ndef hi():\n    click.echo('hi')\n")
    shouts = "print('from Python')\nos.write(1, b'from a library\\n')\nos.system('echo from a child')\n"
    source = f"import os\n{shouts}{HOOK}{shouts.replace(chr(10), chr(10) + '    ')}"
    done = odd(f"{source}group.lazy('hi', 'odd_cli:hi', 'Says hi.')", "hi")
    assert done.stdout == "hi\n"
    assert all(done.stderr.count(f"from {who}") == 2 for who in ("Python", "a library", "a child"))


STORAGE = """
import sys
from mixkit import hookimpl
class Storage:
    name, durable = "odd", True
    def open(self, place): return self
    def close(self): pass
    def remove(self, place): pass
    def __getattr__(self, name): sys.exit(0)
@hookimpl
def mix_storages(): return {"odd": "mix_odd:Storage"}
"""


def test_a_command_of_a_plugin_may_exit_but_a_plugin_within_ours_may_not(
    odd: Odd, tmp_path: Path, mixkit_cli: Run
) -> None:
    (tmp_path / "odd_cli.py").write_text("import click, sys\n@click.command()\ndef hi():\n    sys.exit(3)\n")
    assert odd(HOOK + "group.lazy('hi', 'odd_cli:hi', 'Says hi.')", "hi").returncode == 3
    (tmp_path / "mix_odd.py").write_text(STORAGE)
    args = ("-p", str(tmp_path / "odd.toml"), "--set", "storage=odd", "ws", "create", "first", "--ws-dir")
    done = mixkit_cli(*args, str(tmp_path / "ws"), env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "sys.exit(0)" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("1/0", "ZeroDivisionError"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError"),
        ("", "no function marked @mixkit.hookimpl"),
        (HOOK + "raise RuntimeError('boom')", "boom"),
        (HOOK + "group.lazy('run', 'os:system', 'Mine now.')", "'run' exists already, from mixkit"),
        (HOOK + "group.lazy('hi', 'not an import string', '')", "import string"),
        (HOOK + "import click; group.add_command(click.Command('hi'))", "group.lazy"),
        ("from mixkit import hookimpl\n@hookimpl\ndef mix_comands(group): pass", "mix_comands"),
    ],
)
def test_a_broken_plugin_takes_away_its_own_commands_only(odd: Odd, source: str, why: str) -> None:
    done = odd(source, "--help")
    assert done.returncode == 0
    assert "Commands of plugins are missing" in done.stdout
    assert why in " ".join(done.stdout.split())
    assert "Build and inspect" in done.stdout


def test_a_command_that_does_not_import_says_whose_it_is(odd: Odd) -> None:
    done = odd(HOOK + "group.lazy('hi', 'a_module_that_is_not_there:hi', '')", "hi")
    assert done.returncode == 1
    assert "plugin 'odd'" in done.stderr


def test_plugins_lists_the_broken_one_with_its_reason(odd: Odd) -> None:
    done = odd("1/0", "plugins", "--json")
    assert done.returncode == 1
    found = {row["name"]: row for row in json.loads(done.stdout)}
    assert "ZeroDivisionError" in found["odd"]["status"]
    assert (found["odd"]["distribution"], found["odd"]["version"]) == ("mix-odd", "1.0")
    assert found["wasm"]["status"] == "loaded"
    assert found["http"]["status"] == "not in the profile"


def test_a_missing_plugin_names_the_pip_command(mixkit_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('plugins = ["nowhere", "wasm"]\nengines = []\n')
    shown = " ".join(mixkit_cli("-p", str(tmp_path / "p.toml"), "--help").stdout.split())
    assert "pip install mix-nowhere" in shown
    assert "Build and inspect" in shown


@pytest.mark.parametrize("text", ["plugins = 7", "[", 'extends = "nix"', "unknown = 1"])
def test_help_survives_a_broken_profile(mixkit_cli: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    done = mixkit_cli("-p", str(tmp_path / "p.toml"), "--help")
    assert done.returncode == 0
    assert "doctor" in done.stdout
    assert "p.toml" in done.stdout
    assert "Traceback" not in done.stderr


def test_checks_of_a_plugin_that_fail_are_a_finding(odd: Odd) -> None:
    source = "from mixkit import hookimpl\n@hookimpl\ndef mix_doctor(kernel):\n    return [1/0]"
    done = odd(source, "doctor", "--json")
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert (done.returncode, found["odd"]["level"]) == (1, "error")
    assert "ZeroDivisionError" in found["odd"]["message"]
