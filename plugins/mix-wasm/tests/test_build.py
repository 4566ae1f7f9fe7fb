"""Building guests: the same bytes everywhere, and errors that say what to do."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from mix_wasm import compiler
from mix_wasm.build import build, default_out, sources
from mix_wasm.errors import BuildError
from mix_wasm.inspect import inspect

GUEST = """
#include "mix.h"
static mix_value same(mix_value params) { return params; }
MIX_ENTRY("same", same)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "guest"
    made.mkdir()
    (made / "agent.c").write_text(GUEST)
    return made


@pytest.mark.parametrize("debug", [False, True])
def test_same_sources_give_the_same_bytes_in_another_place(tmp_path: Path, folder: Path, debug: bool) -> None:
    other = tmp_path / "a folder with spaces" / "a=b é"
    other.mkdir(parents=True)
    text = GUEST + "const char *where(void) { return __FILE__; }\n"
    (folder / "agent.c").write_text(text)
    (other / "agent.c").write_text(text)
    first = build(folder, tmp_path / "1.wasm", debug=debug).read_bytes()
    assert first == build(other, tmp_path / "2.wasm", debug=debug).read_bytes()
    assert str(tmp_path).encode() not in first


def test_environment_of_the_builder_does_not_matter(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(folder, tmp_path / "1.wasm").read_bytes()
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "mix.h").write_text("#error from CPATH")
    monkeypatch.setenv("CPATH", str(tmp_path / "evil"))
    monkeypatch.setenv("CFLAGS", "-DX")
    assert build(folder, tmp_path / "2.wasm").read_bytes() == first


def test_build_time_cannot_get_in(tmp_path: Path, folder: Path) -> None:
    (folder / "agent.c").write_text(GUEST + "const char *when(void) { return __DATE__; }\n")
    with pytest.raises(BuildError, match="not reproducible"):
        build(folder, tmp_path / "out.wasm")


def test_all_files_of_a_folder_are_built(folder: Path) -> None:
    (folder / "agent.c").write_text('#include "two.h"\n' + GUEST.replace("return params", "return two()"))
    (folder / "two.h").write_text('#include "mix.h"\nmix_value two(void);\n')
    (folder / "two.c").write_text('#include "two.h"\nmix_value two(void) { return mix_int(2); }\n')
    assert build(folder) == folder / "build" / "guest.wasm"
    assert default_out(folder / "agent.c") == folder / "build" / "agent.wasm"
    assert [path.name for path in (folder / "build").iterdir()] == ["guest.wasm"]


def test_debug_keeps_names(tmp_path: Path, folder: Path) -> None:
    assert b"received" in build(folder, tmp_path / "debug.wasm", debug=True).read_bytes()
    assert b"received" not in build(folder, tmp_path / "release.wasm").read_bytes()


def test_compiler_error_names_file_and_line(tmp_path: Path, folder: Path) -> None:
    (folder / "agent.c").write_text(GUEST + "int x = ;\n")
    out = tmp_path / "out.wasm"
    out.write_bytes(b"as it was")
    with pytest.raises(BuildError, match=r"agent\.c:5:9: error") as caught:
        build(folder, out)
    assert "error" in caught.value.output
    assert out.read_bytes() == b"as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["guest", "out.wasm"]


def test_manifest_that_names_no_code_is_refused(tmp_path: Path, folder: Path) -> None:
    manifest = 'MIX_MANIFEST({"version": 1, "entries": {"same": {}, "other": {}}})\n'
    (folder / "agent.c").write_text(GUEST + manifest)
    with pytest.raises(BuildError, match="entry other: stands in the manifest, but no code answers it"):
        build(folder, tmp_path / "out.wasm")
    assert not (tmp_path / "out.wasm").exists()


def test_manifest_crosses_the_preprocessor_unchanged(tmp_path: Path, folder: Path) -> None:
    text = '"it\'s \\"quoted\\", 100%d, true, $http_do, \\\\ \\n \\u00e9 é"'
    manifest = f'MIX_MANIFEST({{"version": 1, "description": {text}, "entries": {{"same": {{}}}}}})\n'
    (folder / "agent.c").write_text("#include <stdbool.h>\n" + GUEST + manifest, encoding="utf-8")
    report = inspect(build(folder, tmp_path / "out.wasm").read_bytes())
    assert report.manifest is not None
    assert report.manifest.description == 'it\'s "quoted", 100%d, true, $http_do, \\ \n é é'


def test_missing_compiler_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BuildError, match=r"pip install 'mix-wasm\[build\]'"):
        build(folder)
    assert compiler.REMEDY in compiler.check().message


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.py").write_text("")
    for path in (tmp_path / "empty", tmp_path / "x.py", tmp_path / "none.c"):
        with pytest.raises(BuildError, match="expected"):
            sources(path)


def test_file_names_are_no_options(tmp_path: Path, folder: Path) -> None:
    (folder / "agent.c").rename(folder / "-DX.c")
    assert build(folder, tmp_path / "out.wasm").stat().st_size > 0
