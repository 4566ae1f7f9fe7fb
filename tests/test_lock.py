"""The lock covers everything that is declared: otherwise `make setup` would take away what somebody needs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKED = dict(
    re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
)
PROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]


def declared(project: Path) -> Iterator[Requirement]:
    """Requirements of a distribution: of itself, its extras, and its development groups."""
    tables = tomllib.loads(project.read_text(encoding="utf-8"))
    yield from map(Requirement, tables["project"].get("dependencies", []))
    for group in (tables["project"].get("optional-dependencies", {}), tables.get("dependency-groups", {})):
        for texts in group.values():
            yield from map(Requirement, texts)


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.parent.name)
def test_what_is_declared_is_locked_in_a_fitting_version(project: Path) -> None:
    locked = {canonicalize_name(name): version for name, version in LOCKED.items()}
    ours = {canonicalize_name(tomllib.loads(path.read_text())["project"]["name"]) for path in PROJECTS}
    for requirement in declared(project):
        name = canonicalize_name(requirement.name)
        if name not in ours:
            assert name in locked, f"{requirement} is not in requirements.lock; run `make lock`"
            assert requirement.specifier.contains(locked[name], prereleases=True), (
                str(requirement),
                locked[name],
            )


def test_the_lock_says_nothing_of_where_packages_come_from() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text
