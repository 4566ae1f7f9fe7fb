"""What stands in the wheels: every package of a distribution."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = [ROOT, *sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))]


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda path: path.name)
def test_every_package_is_listed(folder: Path) -> None:
    listed = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    if not isinstance(listed, list):
        return  # It is found by setuptools.
    roots = [name for name in listed if "." not in name]
    found = {
        ".".join(path.parent.relative_to(folder).parts)
        for root in roots
        for path in (folder / root).rglob("__init__.py")
    }
    assert found <= set(listed), "a package that is not listed is in no wheel"
    assert all((folder / name.replace(".", "/")).is_dir() for name in listed)
