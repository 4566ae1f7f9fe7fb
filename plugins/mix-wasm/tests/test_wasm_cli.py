"""`mixkit wasm` as its users see it: a process, its output and its status."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow


@pytest.fixture
def wasm(mixkit_cli: Cli) -> Cli:
    return lambda *args, **options: mixkit_cli("--profile", "wasi", "wasm", *args, **options)


AGENT = """#include "mix.h"

MIX_MANIFEST({
    "version": 1,
    "entries": {
        "greet": {"inParams": {"name": "string", "formal?": "bool"}, "outParams": {"text": "string", "length": "int"}}
    },
    "grants": {"ffis": []}
})

static mix_value greet(mix_value params) {
    mix_text name = mix_as_text(mix_need(params, "name", MIX_STRING));
    bool formal = mix_as_bool(mix_get(params, "formal"), false);
    mix_value text = mix_format("%s, %.*s", formal ? "Good day" : "Hello", (int)name.size, name.at);

    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "text"), mix_put_value(&out, text);
    mix_key(&out, "length"), mix_put_int(&out, (int64_t)mix_as_text(text).size);
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("greet", greet)
"""


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    folder = tmp_path / "word-count"
    folder.mkdir()
    (folder / "agent.c").write_text(AGENT)
    return folder


def test_a_guest_is_built_and_runs(wasm: Cli, guest: Path) -> None:
    built = wasm("build", str(guest), "--json")
    assert built.returncode == 0, built.stderr
    made = json.loads(built.stdout)
    assert Path(made["path"]) == guest / "build" / "word-count.wasm"
    run = wasm("run", made["path"], "greet", '{"name": "Ada"}')
    assert json.loads(run.stdout) == {"text": "Hello, Ada", "length": 10}


def test_all_commands_take_sources(mixkit_cli: Cli, guest: Path) -> None:
    """All C files of the folder make the guest, with what they include."""
    (guest / "word.h").write_text("extern const char *word;\n")
    (guest / "word.c").write_text('#include "word.h"\nconst char *word = "Hello";\n')
    (guest / "agent.c").write_text('#include "word.h"\n' + AGENT.replace('"Hello"', "word"))
    run = mixkit_cli("--profile", "wasi", "run", str(guest / "agent.c"), "greet", '{"name": "B"}')
    assert (run.returncode, json.loads(run.stdout)["text"]) == (0, "Hello, B")
    manifest = {
        "format": 3, "name": "words", "version": "1", "kind": "app",
        "apps": {"words": {"agents": {"greet": {"code": "agent.c"}}}},
    }  # fmt: skip
    (guest / "manifest.json").write_text(json.dumps(manifest))
    run = mixkit_cli("--profile", "wasi", "run", str(guest), "greet", '{"name": "B", "formal": true}')
    assert (run.returncode, json.loads(run.stdout)["text"]) == (0, "Good day, B")
    assert not (guest / "build").exists()
    refused = mixkit_cli("--profile", "test", "run", str(guest), "greet", "{}")
    assert (
        "agent.c: plugin 'wasm' compiles such sources, which is not on in the profile 'test'"
        in refused.stderr
    )
    (guest / "word.c").write_text('#include "word.h"\nconst char *word = 1\n')
    broken = mixkit_cli("--profile", "wasi", "run", str(guest), "greet", "{}")
    assert broken.returncode == 1 and "word.c:2:21: error" in broken.stderr


def test_texts_that_somebody_sent_are_not_compiled() -> None:
    from mix_wasm.c import CCompiler
    from mix_wasm.errors import BuildError

    with pytest.raises(BuildError, match="compiled where its files are"):
        CCompiler().compile({"agent.c": AGENT})


def test_run_builds_sources(wasm: Cli, guest: Path) -> None:
    run = wasm("run", str(guest / "agent.c"), "greet", "-", input='{"name": "B", "formal": true}')
    assert json.loads(run.stdout)["text"] == "Good day, B"
    assert not (guest / "build").exists()


def test_run_reports_a_panic_and_fails(wasm: Cli, guest: Path) -> None:
    done = wasm("run", str(guest), "greet", "{}")
    assert done.returncode == 1
    assert "name" in done.stderr and done.stdout == ""


def test_inspect_tells_guests_from_others(wasm: Cli, guest: Path, tmp_path: Path) -> None:
    built = json.loads(wasm("build", str(guest), "--json").stdout)
    good = wasm("inspect", built["path"], "--json")
    assert good.returncode == 0
    document: Any = json.loads(good.stdout)
    assert document["manifest"]["entries"]["greet"]["inParams"] == {"name": "string", "formal?": "bool"}
    assert document["sha256"] == built["sha256"]
    text = wasm("inspect", built["path"]).stdout
    assert "entry\tgreet\t{name: string, formal?: bool}" in text

    empty = tmp_path / "empty.wasm"
    empty.write_bytes(b"\0asm\1\0\0\0")
    bad = wasm("inspect", str(empty))
    assert bad.returncode == 1
    assert "no guest: export memory: expected a memory, found nothing" in bad.stderr
    empty.write_bytes(b"text")
    assert wasm("inspect", str(empty)).returncode == 1


def test_a_misspelt_grant_is_told(wasm: Cli, guest: Path) -> None:
    source = (guest / "agent.c").read_text()
    assert '"ffis": []' in source
    (guest / "agent.c").write_text(source.replace('"ffis": []', '"ffis": ["$core_lgo"]'))
    said = "no FFI of this profile is called '$core_lgo'; did you mean '$core_log'?"
    built = json.loads(wasm("build", str(guest), "--json").stdout)
    assert built["warnings"] == [said]
    assert json.loads(wasm("inspect", built["path"], "--json").stdout)["warnings"] == [said]
    shown = wasm("inspect", built["path"])
    assert (shown.returncode, shown.stderr) == (0, f"warning: {said}\n")


def test_build_error_is_readable(wasm: Cli, guest: Path) -> None:
    (guest / "agent.c").write_text("int x = ;\n")
    done = wasm("build", str(guest))
    assert done.returncode == 1
    assert "agent.c:1:9: error" in done.stderr
    assert "Traceback" not in done.stderr


def test_usage_errors_have_status_2(wasm: Cli, tmp_path: Path) -> None:
    assert wasm("build", str(tmp_path / "none")).returncode == 2
    assert wasm("run").returncode == 2


def test_output_is_relative_to_where_one_stands(
    wasm: Cli, guest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for given in ("out.wasm", "deep/out.wasm"):
        done = wasm("build", str(guest), "-o", given)
        assert done.returncode == 0, done.stderr
        assert (here / given).read_bytes()[:4] == b"\0asm"
    assert not (guest / "build").exists()


def test_run_takes_the_options_of_run(mixkit_cli: Cli, guest: Path, tmp_path: Path) -> None:
    (guest / "agent.c").write_text(
        '#include "mix.h"\n'
        "static mix_value save(mix_value params) {\n"
        '    return mix_ffi("$db_save_one", mix_null(), params);\n'
        "}\n"
        'MIX_ENTRY("save", save)\n'
    )
    where = ("--profile", "wasi", "--set", "storage=mixquery", "wasm", "run", str(guest), "save", '{"n": 1}')
    args = ("--grant", "$db_*", "--param", "m=2", "--database", str(tmp_path / "data"))
    saved = mixkit_cli(*where, *args)
    assert saved.returncode == 0, saved.stderr
    assert json.loads(saved.stdout)["_rmx_id"]
    assert any(path.is_file() for path in (tmp_path / "data").rglob("*"))


def test_the_first_build_says_that_it_takes_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a compiler that only says that it built the library: building it takes half a minute."""
    from mix_wasm import compiler

    monkeypatch.setattr(compiler, "default_directory", lambda name: tmp_path)
    monkeypatch.setattr(compiler, "_zig", lambda *args: subprocess.CompletedProcess(args, 0, b"", b""))
    for _ in range(2):
        compiler.make_libc()
    assert caplog.messages == [compiler.SLOW]


def test_printf_is_seen(wasm: Cli, guest: Path) -> None:
    (guest / "agent.c").write_text(
        '#include "mix.h"\n#include <stdio.h>\n'
        "static mix_value say(mix_value params) {\n"
        '    printf("printed %d\\n", 1);\n'
        '    mix_log(MIX_INFO, "logged");\n'
        "    return params;\n"
        "}\n"
        'MIX_ENTRY("say", say)\n'
    )
    done = wasm("run", str(guest), "say", "1")
    assert (done.stdout, sorted(done.stderr.splitlines())) == ("1\n", ["logged", "printed 1"])


TRAPS = """#include "mix.h"
static int deep(int n) {
    if (n == 0) __builtin_trap();
    return deep(n - 1) + 1;
}
static mix_value go(mix_value params) {
    return mix_int(deep((int)mix_as_int(params, 1)) + 1);
}
MIX_ENTRY("go", go)
"""


def test_backtraces_of_debug_builds_have_lines(wasm: Cli, guest: Path) -> None:
    (guest / "agent.c").write_text(TRAPS)
    done = wasm("run", "--debug", str(guest), "go", "2", "--json")
    error = json.loads(done.stdout)["run_error"]
    lines = [frame.rpartition("(")[2] for frame in error["backtrace"]]
    assert lines[:4] == ["agent.c:3)", "agent.c:4)", "agent.c:4)", "agent.c:7)"]
    assert "(agent.c:3)" in error["message"]
    plain = wasm("run", str(guest), "go", "2")
    assert "unreachable" in plain.stderr and "agent.c" not in plain.stderr


def test_lines_that_cannot_be_read_hide_no_error(
    guest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mix_wasm.build import build

    from mixkit.cli.lines import REMEDY, located

    (guest / "agent.c").write_text(TRAPS)
    code = build(guest, debug=True).read_bytes()
    frames = ["odd", *(f"f at {offset:#x}" for offset in range(0x80, 0x800, 4))]
    assert any("(agent.c:" in frame for frame in located(code, frames))
    at = code.index(b".debug_line") + len(b".debug_line")
    # The length of the first line program is not that of the section any more.
    assert located(code[:at] + b"\xf0\xff\xff\xff" + code[at + 4 :], frames) == frames
    with monkeypatch.context() as patch:
        # Line programs that are too large, or of which there are too many, are not looked at.
        patch.setattr("mixkit.cli.lines._MOST_BYTES", 10)
        assert located(code, frames) == frames
    monkeypatch.setitem(sys.modules, "elftools.dwarf.dwarfinfo", None)
    assert located(code, frames) == [f"odd (for its line: {REMEDY})", *frames[1:]]
