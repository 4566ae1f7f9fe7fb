"""Compiled programs on disk: found again by the next start as long as nothing changed, and never wrong."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mix_lang import compiler, kept
from mix_lang.compiler import build
from mix_lang.errors import CompileError
from mix_lang.kept import MixCompiler
from mix_lang.settings import LangSettings

from mixkit.errors import NotFound
from mixkit.sources import Sources

MAIN = "import part\nimport array\ncell output = [part.start, array.map((x -> x + 1), [1])]\n"
PART = "import deep\ndef start = deep.down\n"
DEEP = "def down = 7\n"
SOURCES = {"main.mix": MAIN, "part.mix": PART, "deep.mix": DEEP}


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was really compiled."""
    made: list[Any] = []

    def count(sources: Any, **more: Any) -> Any:
        made.append(sources)
        return build(sources, **more)

    monkeypatch.setattr(compiler, "build", count)
    return made


def _compiler(folder: Path, size: int = 1 << 20) -> MixCompiler:
    """As a process that starts has it."""
    return MixCompiler(LangSettings(cache_dir=str(folder), cache_bytes=size))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.mixkept"))


def test_a_program_is_compiled_once(tmp_path: Path, compilations: list[Any]) -> None:
    code = _compiler(tmp_path / "a" / "cache").compile(SOURCES)
    assert code == build(SOURCES)[0]
    assert _compiler(tmp_path / "a" / "cache").compile(SOURCES) == code
    assert len(compilations) == 1
    (file,) = _files(tmp_path / "a" / "cache")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


CHANGES: list[dict[str, str | None]] = [
    {"main.mix": MAIN.replace("x + 1", "x + 2")},
    {"part.mix": PART + "def more = 2\n"},
    {"deep.mix": "def down = 8\n"},
    # A module of the library that the program brings itself, from now on.
    {"array.mix": "def map(f, a) = 3\n"},
    # And one that it need not have any more.
    {"part.mix": "def start = 1\n", "deep.mix": None},
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_it_is_made_of_is_seen(
    tmp_path: Path, compilations: list[Any], change: dict[str, str | None]
) -> None:
    _compiler(tmp_path).compile(SOURCES)
    after = {name: text for name, text in (SOURCES | change).items() if text is not None}
    assert _compiler(tmp_path).compile(after) == build(after)[0]
    assert _compiler(tmp_path).compile(SOURCES) == build(SOURCES)[0], "and back"
    before = len(compilations)
    _compiler(tmp_path).compile(SOURCES)
    assert len(compilations) == before


def test_what_does_not_belong_to_it_changes_nothing(tmp_path: Path, compilations: list[Any]) -> None:
    _compiler(tmp_path).compile(SOURCES)
    _compiler(tmp_path).compile(SOURCES | {"other.mix": "cell output = wrong(\n"})
    assert len(compilations) == 1


def test_files_are_read_only_where_they_are_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    for name, text in SOURCES.items():
        (folder / name).write_text(text)
    (folder / "image.mix").write_bytes(b"\xff\xfe")
    code = _compiler(tmp_path / "cache").compile(Sources(folder / "main.mix"))
    assert _compiler(tmp_path / "cache").compile(Sources(folder / "main.mix")) == code
    (folder / "deep.mix").write_bytes(b"\xff")
    with pytest.raises(NotFound, match="deep"):
        _compiler(tmp_path / "cache").compile(Sources(folder / "main.mix"))
    (folder / "deep.mix").unlink()
    with pytest.raises(CompileError, match="deep"):
        _compiler(tmp_path / "cache").compile(Sources(folder / "main.mix"))


def test_errors_are_not_kept(tmp_path: Path) -> None:
    wrong = {"main.mix": "cell output = nope\n"}
    for _ in range(2):
        with pytest.raises(CompileError, match="nope"):
            _compiler(tmp_path).compile(wrong)
    assert not _files(tmp_path)


def test_another_compiler_finds_nothing(
    tmp_path: Path, compilations: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _compiler(tmp_path).compile(SOURCES)
    monkeypatch.setattr(kept, "_compiler", lambda: "another one")
    _compiler(tmp_path).compile(SOURCES)
    assert len(compilations) == 2 and len(_files(tmp_path)) == 2


def test_a_compiler_is_known_by_its_files(tmp_path: Path) -> None:
    assert "codegen/generator.py" in kept._compiler() and "qcode.py" in kept._compiler()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.mix").write_text("1")
    before = list(kept._files(str(tmp_path), ""))
    (tmp_path / "a" / "x.mix").write_text("12")
    assert [each[0] for each in before] == ["a/x.mix"] and list(kept._files(str(tmp_path), "")) != before


@pytest.mark.parametrize("at", [0, 8, 40, 44, 60, -1])
def test_a_damaged_file_is_made_again(tmp_path: Path, at: int) -> None:
    code = _compiler(tmp_path).compile(SOURCES)
    (file,) = _files(tmp_path)
    good = file.read_bytes()
    bad = bytearray(good)
    bad[at] ^= 0x40
    file.write_bytes(bad)
    assert _compiler(tmp_path).compile(SOURCES) == code
    assert file.read_bytes() == good
    file.write_bytes(good[:20])
    assert _compiler(tmp_path).compile(SOURCES) == code


def test_what_is_whole_but_no_program_is_made_again(tmp_path: Path) -> None:
    one = _compiler(tmp_path)
    code = one.compile(SOURCES)
    assert one.cache is not None
    for content in (b"", b"\xff\xff\xff\xff", b"\x02\0\0\0[]", b'\x09\0\0\0{"a": 1}x'):
        one.cache.put(kept._key("main.mix", MAIN), content)
        assert _compiler(tmp_path).compile(SOURCES) == code, content


def test_the_folder_is_bounded(tmp_path: Path) -> None:
    for number in range(12):
        _compiler(tmp_path, 40_000).compile({"a.mix": f"cell output = {number}\n"})
    assert _files(tmp_path) and sum(file.stat().st_size for file in _files(tmp_path)) <= 40_000


def test_a_folder_that_others_can_write_is_not_used(tmp_path: Path, compilations: list[Any]) -> None:
    tmp_path.chmod(0o777)
    for _ in range(2):
        _compiler(tmp_path).compile(SOURCES)
    assert len(compilations) == 2 and not _files(tmp_path)


def test_many_at_the_same_time(tmp_path: Path) -> None:
    expected = build(SOURCES)[0]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: _compiler(tmp_path).compile(SOURCES), range(24)))
    assert set(found) == {expected}
    assert len(_files(tmp_path)) == 1


def test_nothing_is_kept_if_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one = MixCompiler(LangSettings(cache_dir="off"))
    assert one.cache is None and one.compile(SOURCES) == build(SOURCES)[0]
    assert not list(tmp_path.iterdir())
    MixCompiler().compile(SOURCES)
    assert _files(tmp_path / "mixkit" / "lang")
