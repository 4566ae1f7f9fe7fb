"""Wheels, empty environments, and plugins that are not ours: what somebody else does from the docs.

One environment is made for all tests: plain pip installs mixkit, its plugins, the example plugin and one fresh
from the template, from a folder of wheels. There is no network: what these depend on is linked in from the
environment that runs the tests, as far as they declare it and no further; pip decides whether it is enough.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterable
from importlib import metadata, util
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mixkit.cli.plugin import make_plugin
from mixkit.testing.snippets import Session, read_snippets

ROOT = Path(__file__).parent.parent
GREETING = ROOT / "examples" / "plugin-greeting"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500), pytest.mark.xdist_group("environment")]


class Environment:
    """A virtual environment in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, with_pip=True, symlinks=True)
        # What comes with some Pythons is too old to build with; ours is linked in.
        self.run("python", "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools")
        self.packages = next(folder.glob("lib/python*/site-packages"))

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that its programs get: pip builds with what is there and asks no index."""
        return {
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, by its name in `bin`."""
        return subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            env=self.variables,
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def link(self, names: Iterable[str]) -> None:
        """Make these distributions of the running environment visible here."""
        for name in names:
            distribution = metadata.distribution(name)
            tops = {
                file.parts[0]
                for file in distribution.files or []
                if file.parts[0] not in ("..", "__pycache__")
            }
            for top in tops:
                target = self.packages / top
                if not target.exists():
                    target.symlink_to(Path(str(distribution.locate_file(top))))


def requirements_of(name: str) -> list[str]:
    """What a distribution requires, extras as markers; of ours from the tree, since an editable one may be stale."""
    folder = ROOT if name == "mixkit" else ROOT / "plugins" / name
    if not (folder / "pyproject.toml").is_file():
        return metadata.requires(name) or []
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).items()
    return [
        *project["dependencies"],
        *(f'{text}; extra == "{extra}"' for extra, texts in extras for text in texts),
    ]


def closure(requirements: Iterable[str]) -> set[str]:
    """Names of what the requirements need, and what that needs, except for distributions of ours."""
    waiting = [Requirement(text) for text in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        extras = frozenset(requirement.extras)
        name = canonicalize_name(requirement.name)
        if (name, extras) not in seen:
            seen.add((name, extras))
            for inner in map(Requirement, requirements_of(name)):
                if inner.marker is None or any(
                    inner.marker.evaluate({"extra": extra}) for extra in extras | {""}
                ):
                    waiting.append(inner)
    return {name for name, _ in seen if name != "mixkit" and not name.startswith("mix-")}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin fresh from the template."""
    folder = tmp_path_factory.mktemp("template") / "mix-my-thing"
    make_plugin("my_thing", folder)
    return folder


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Environment:
    """An environment with everything installed by plain pip from wheels."""
    spec = util.spec_from_file_location("wheels_script", ROOT / "scripts" / "wheels.py")
    assert spec is not None and spec.loader is not None
    script = util.module_from_spec(spec)
    spec.loader.exec_module(script)
    wheels = tmp_path_factory.mktemp("wheels")
    script.build(wheels, [*script.distributions(), GREETING.relative_to(ROOT), made], quiet=True)
    environment = Environment(tmp_path_factory.mktemp("environment") / "venv")
    environment.link(closure(["mixkit[agent_server]", "pytest", "setuptools"]))
    wanted = ["mixkit[agent_server]", "mix-greeting", "mix-my-thing"]
    done = environment.run("python", "-m", "pip", "install", "--find-links", str(wheels), *wanted)
    assert done.returncode == 0, done.stdout + done.stderr
    return environment


def test_plain_pip_gives_a_working_command(environment: Environment) -> None:
    done = environment.run("mixkit", "doctor", "--json")
    found = json.loads(done.stdout)
    assert [check for check in found if check["level"] == "error"] == []
    assert done.returncode == 0


def test_the_wheels_hold_profiles_codec_and_no_tests(environment: Environment) -> None:
    installed = environment.packages / "mixkit"
    assert {path.stem for path in (installed / "_profiles").glob("*.toml")} >= {
        "agent_server",
        "all",
        "test",
        "wasi",
    }
    assert list(installed.glob("_codec*.so"))
    assert (installed / "cli" / "plugin_template" / "pyproject.toml.in").is_file()
    assert not list(environment.packages.glob("test*"))


def test_the_example_is_called_from_the_command_line(environment: Environment) -> None:
    profile = ("-p", str(GREETING / "profile.toml"))
    done = environment.run("mixkit", *profile, "ffi", "call", "$greeting_hello", '["Ada"]')
    assert json.loads(done.stdout) == {"_rmx_type": "{tag}case:ok", "_rmx_value": "Hello, Ada!"}
    assert environment.run("mixkit", *profile, "greet", "Ada").stdout == "greeting\tHello, Ada!\n"


@pytest.mark.parametrize("which", ["example", "template"])
def test_its_own_tests_pass(environment: Environment, made: Path, which: str) -> None:
    folder = GREETING if which == "example" else made
    done = environment.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder), cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_the_tutorial_works(environment: Environment, tmp_path: Path) -> None:
    with Session(tmp_path, environment.variables) as session:
        for snippet in read_snippets(ROOT / "docs" / "write-a-plugin.md"):
            session.run(snippet)
        assert session.folder.name == "mix-weather"


def test_the_template_is_clean(made: Path) -> None:
    for tool in (
        ["ruff", "check", "--isolated", "."],
        ["ruff", "format", "--check", "--isolated", "."],
        ["mypy", "--strict", "--follow-imports=silent", "--cache-dir", os.devnull, "mix_my_thing"],
    ):
        command = [sys.executable, "-m", *tool]
        env = {**os.environ, "MYPYPATH": str(ROOT)}
        done = subprocess.run(command, cwd=made, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_no_placeholder_is_left(tmp_path: Path) -> None:
    for path in make_plugin("my_thing", tmp_path):
        assert "{{" not in path.read_text(encoding="utf-8"), path
        assert "PLUGIN" not in str(path.relative_to(tmp_path)), path


@pytest.mark.parametrize("name", ["", "1a", "A", "a-b", "../a", "a/b", "a__b", "a_", "$a"])
def test_a_name_that_is_none_is_refused(mixkit_cli, name: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = mixkit_cli("plugin", "new", "-d", str(tmp_path), "--", name)
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(mixkit_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    kept = tmp_path / "mix-a" / "README.md"
    kept.parent.mkdir()
    kept.write_text("mine")
    done = mixkit_cli("plugin", "new", "a", "-d", str(tmp_path))
    assert done.returncode == 2 and "is there and not empty" in done.stderr
    assert kept.read_text() == "mine" and len(list(kept.parent.iterdir())) == 1


def test_what_is_made_is_told(mixkit_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    found = json.loads(mixkit_cli("plugin", "new", "a", "-d", str(tmp_path), "--json").stdout)
    files = {str(path) for path in (tmp_path / "mix-a").rglob("*") if path.is_file()}
    assert found["path"] == str(tmp_path / "mix-a") and {*found["files"]} == files
    assert found["next"].startswith("python -m pip install -e")
