"""What is installed, wherever Python finds distributions."""

from __future__ import annotations

import importlib.metadata
import sys
import zipfile
from pathlib import Path

import pytest

from mixkit.distributions import GROUP, EntryPoint, installed, version
from mixkit.errors import NotFound


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of the path."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def distribution(folder: Path, points: str, name: str = "Some.Thing", file: str = "METADATA") -> None:
    folder.mkdir(parents=True)
    (folder / file).write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n\nName: of something else\n"
    )
    (folder / "entry_points.txt").write_text(points)


def test_what_is_found_is_what_the_library_finds() -> None:
    found = {
        (name, point.value, point.distribution) for name, points in installed().items() for point in points
    }
    theirs = {
        (point.name, point.value, point.dist.name)
        for point in importlib.metadata.entry_points(group=GROUP)
        if point.dist is not None
    }
    assert found == theirs and found


@pytest.mark.parametrize(
    ("folder", "file"), [("some_thing-1.5.dist-info", "METADATA"), ("some_thing.egg-info", "PKG-INFO")]
)
def test_names_and_values_of_the_group(alone: Path, folder: str, file: str) -> None:
    text = "[console_scripts]\nno sign\nodd = other\n\n[ mixkit ]\n# odd = comment\n; x\none=a.b\n two = c : d.e [x]\n[z]\nf = g\n"
    distribution(alone / folder, text, file=file)
    assert installed() == {
        "one": [EntryPoint("one", "a.b", "Some.Thing", "1.5")],
        "two": [EntryPoint("two", "c : d.e [x]", "Some.Thing", "1.5")],
    }


def test_what_an_entry_point_names() -> None:
    assert EntryPoint("a", "os.path", "d", "1").load() is sys.modules["os.path"]
    assert EntryPoint("a", "os : path.join [x]", "d", "1").load() is sys.modules["os.path"].join
    with pytest.raises(ImportError):
        EntryPoint("a", "os.nothing", "d", "1").load()


def test_distributions_that_have_none_are_passed_over(alone: Path, caplog: pytest.LogCaptureFixture) -> None:
    distribution(alone / "a-1.dist-info", "[console_scripts]\nmixkit = mixkit.cli:main\nno sign\n")
    (alone / "b-1.dist-info").mkdir()
    (alone / "c.egg-info").write_text("a file")
    assert installed() == {} and not caplog.records


def test_a_distribution_in_an_archive_of_the_path(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = alone / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("odd-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
        file.writestr("odd-1.0.dist-info/entry_points.txt", "[mixkit]\nodd = mix_odd\n")
    monkeypatch.setattr(sys, "path", [str(archive), str(alone / "nothing"), str(alone)])
    assert installed() == {"odd": [EntryPoint("odd", "mix_odd", "odd", "1.0")]}


def test_a_distribution_that_another_importer_knows(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(alone / "hidden" / "some_thing-1.5.dist-info", "[mixkit]\nodd = mix_odd\n")

    class Finder(importlib.metadata.DistributionFinder):
        def find_spec(self, *args: object) -> None:
            return None

        def find_distributions(self, context: object = None) -> list[importlib.metadata.Distribution]:
            return [importlib.metadata.Distribution.at(alone / "hidden" / "some_thing-1.5.dist-info")]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert [point.value for point in installed()["odd"]] == ["mix_odd"]


@pytest.mark.parametrize("name", ["mixkit", "pluggy", "mix-http", "MIX_http", "msgspec", "click"])
def test_versions_are_those_of_the_library(name: str) -> None:
    assert version(name) == importlib.metadata.version(name)


def test_the_version_of_what_is_not_there(alone: Path) -> None:
    distribution(alone / "some_thing_more-2.dist-info", "", name="some-thing-more")
    (alone / "some_thing-3.dist-info").mkdir()
    with pytest.raises(NotFound, match="some-thing"):
        version("some-thing")
    distribution(alone / "Some_Thing.egg-info", "", file="PKG-INFO")
    assert version("some-thing") == "1.5"
