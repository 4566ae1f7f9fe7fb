"""What holds for every command: help, exit statuses, JSON, what goes where, interruption."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

import click
import pytest

from mixkit.cli import main
from mixkit.cli.app import cli
from mixkit.cli.output import Output
from mixkit.cli.session import Session

ROOT = Path(__file__).parent.parent
SOURCES = [*ROOT.glob("mixkit/**/*.py"), *ROOT.glob("plugins/*/mix_*/**/*.py")]


def walk(group: click.Group, ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        inner = click.Context(command, parent=ctx, info_name=name)
        yield inner.command_path.removeprefix("mixkit "), command
        if isinstance(command, click.Group):
            yield from walk(command, inner)


EVERY: Final = dict(walk(cli, click.Context(cli, info_name="mixkit", obj=Session("all"))))
PLAIN: Final = {path for path, command in EVERY.items() if not isinstance(command, click.Group)}
ENDLESS: Final = {"dev", "lsp", "mcp", "repl", "serve"}
"""Those that go on until they are ended, and speak a protocol or with a person."""
NO_JSON: Final = {"mcp", "serve"}


@pytest.fixture
def run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in an empty folder: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIXKIT_PROJECT", "")
    monkeypatch.setenv("MIXKIT_PROFILE", "all")
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(words)
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize("path", ["", *EVERY])
def test_help_says_what_it_does_on_stdout(path: str, run: Callable[..., tuple[int, str, str]]) -> None:
    status, out, err = run(*path.split(), "--help")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"Usage: mixkit {path}".rstrip())
    about = next(line.strip() for line in lines[1:] if line.strip())
    assert about[0].isupper() and "Options:" in out
    # The words of a choice stand together.
    assert max(len(line) for line in lines if "|" not in line) <= 100


@pytest.mark.parametrize("path", ["", *EVERY])
def test_wrong_usage_is_status_2_and_on_stderr(path: str, run: Callable[..., tuple[int, str, str]]) -> None:
    status, out, err = run(*path.split(), "--no-such-option")
    assert (status, out) == (2, "")
    assert "no-such-option" in err and "Traceback" not in err
    if path in PLAIN - NO_JSON:
        status, out, err = run(*path.split(), "--no-such-option", "--json")
        assert (status, err) == (2, "")
        answer = json.loads(out)
        assert (answer["ok"], answer["kind"]) == (False, "usage")


@pytest.mark.parametrize("path", sorted(PLAIN))
def test_an_argument_that_is_missing_is_wrong_usage(
    path: str, run: Callable[..., tuple[int, str, str]]
) -> None:
    command = EVERY[path]
    if not any(isinstance(param, click.Argument) and param.required for param in command.params):
        pytest.skip("it takes none that it needs")
    status, out, err = run(*path.split())
    assert (status, out) == (2, "")
    assert "Missing argument" in err


# One of them would begin a server there.
@pytest.mark.parametrize("path", sorted(PLAIN - NO_JSON - {"mcp start"}))
def test_json_is_an_option_and_errors_are_json_too(
    path: str, run: Callable[..., tuple[int, str, str]]
) -> None:
    command = EVERY[path]
    assert "--json" in {name for param in command.params for name in param.opts}
    if "--ws-dir" in {name for param in command.params for name in param.opts}:
        # A directory that there is not.
        required = [param for param in command.params if param.required]
        words = [
            word
            for param in required
            for word in ((param.opts[0], "a/b") if isinstance(param, click.Option) else ("a/b",))
        ]
        status, out, err = run(*path.split(), *words, "--ws-dir", "none", "--json")
        assert status in (1, 2) or path == "ws create", err
        assert json.loads(out) is not None, (out, err)


@pytest.mark.parametrize("path", sorted(PLAIN))
def test_an_interruption_is_status_130_and_no_more(
    path: str, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: object, ctx: object, args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(EVERY[path], "parse_args", interrupted.__get__(EVERY[path]))
    status, out, err = run(*path.split())
    assert (status, out, err.strip()) == (130, "", "")


def test_each_word_that_ends_a_command_is_one_of_four() -> None:
    """0 done, 1 failed, 2 wrong usage, 130 interrupted: nothing else is written anywhere as an exit status."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "click.exceptions.Exit",
                "Exit",
                "sys.exit",
                "ctx.exit",
            ):
                found.update(
                    each.value
                    for arg in node.args
                    for each in ast.walk(arg)
                    if isinstance(each, ast.Constant)
                )
    assert found <= {0, 1, 2}, found


def test_colours_and_cursors_are_in_one_place() -> None:
    """So that NO_COLOR, TERM=dumb and pipes are heeded by all."""
    ours = {"output.py", "progress.py", "logs.py"}
    wrong = [
        path.relative_to(ROOT)
        for path in SOURCES
        if not (path.name in ours and path.parent.name == "cli")
        and any(text in path.read_text(encoding="utf-8") for text in ("click.style", "click.secho", "\\x1b["))
    ]
    assert wrong == []


def test_whoever_is_asked_is_asked_in_one_way() -> None:
    wrong = [
        path.relative_to(ROOT)
        for path in SOURCES
        if "click.confirm(" in path.read_text(encoding="utf-8") and path.name != "workspaces.py"
    ]
    assert wrong == []


def terminal(
    *words: str, cwd: Path, columns: int = 80, typed: bytes = b"", **variables: str
) -> tuple[int, str]:
    """Exit status, and what is shown on a terminal of that width."""
    ours, theirs = pty.openpty()
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("MIXKIT_") and name != "NO_COLOR"
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "mixkit", *words], cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**kept, "TERM": "xterm", "COLUMNS": str(columns), "MIXKIT_PROJECT": "", **variables},
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, typed)
    shown = b""
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    return process.wait(30), shown.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("every")
    environ = {name: text for name, text in os.environ.items() if not name.startswith("MIXKIT_")}
    for words in (("ws", "create", "shop"), ("app", "create", "shop/notes")):
        command = [sys.executable, "-m", "mixkit", *words]
        subprocess.run(command, cwd=folder, env=environ, check=True, capture_output=True, timeout=60)
    return folder


def test_no_is_no_and_status_1(workspaces: Path) -> None:
    status, shown = terminal("app", "rm", "shop/notes", cwd=workspaces, typed=b"n\n")
    assert status == 1 and "nothing was done" in shown and "Aborted" not in shown


@pytest.mark.parametrize("columns", [30, 60, 200])
@pytest.mark.parametrize(
    "words", [("list",), ("app", "list"), ("plugins",), ("profile", "show"), ("ffi", "list", "$core")]
)
def test_tables_fit_where_there_is_room(words: tuple[str, ...], columns: int, workspaces: Path) -> None:
    status, shown = terminal(*words, cwd=workspaces, columns=columns, NO_COLOR="1")
    assert status == 0
    assert "\x1b" not in shown
    # A path has no place where it could be broken.
    assert all(len(line) <= columns or " " not in line[20:].strip() for line in shown.splitlines()), shown
    assert "\x1b[" in terminal(*words, cwd=workspaces, columns=columns)[1]


def test_a_narrow_table_has_each_cell_beneath_the_last(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    Output().table(("name", "about"), [("n" * 30, "some words " * 5), ("m", "")])
    assert capsys.readouterr().out.splitlines() == [
        "name   " + "n" * 30,
        "about  some words some words some words",
        "       some words some words",
        "",
        "name   m",
    ]


READERS: Final = [
    ("list",), ("ws", "list"), ("app", "list"), ("logs",), ("ffi", "list"), ("plugins",), ("profile", "list"),
    ("profile", "show"), ("remix", "list"), ("openapi",), ("doctor",),
]  # fmt: skip


@pytest.mark.parametrize("words", [words for words in READERS if words != ("remix", "list")], ids=" ".join)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_reader_that_leaves_is_told_nothing(
    words: tuple[str, ...], as_json: bool, workspaces: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environ = {name: text for name, text in os.environ.items() if not name.startswith("MIXKIT_")}
    command = [sys.executable, "-m", "mixkit", *words, *(["--json"] if as_json else [])]
    done = subprocess.run(
        command, cwd=workspaces, env=environ, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 1


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_only_data_is_on_stdout(words: tuple[str, ...], workspaces: Path) -> None:
    environ = {name: text for name, text in os.environ.items() if not name.startswith("MIXKIT_")}
    command = [sys.executable, "-m", "mixkit", *words]
    done = subprocess.run(
        [*command, "--json"], cwd=workspaces, env=environ, capture_output=True, check=False, timeout=60
    )
    json.loads(done.stdout)
    plain = subprocess.run(
        command, cwd=workspaces, env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert plain.returncode == done.returncode
    assert "\x1b" not in plain.stdout + plain.stderr
    if words[0] != "openapi":
        assert all("\t" in line for line in plain.stdout.splitlines() if words != ("logs",)), plain.stdout


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("logs", "-f"), 130),
        (("db", "tail", "--app", "shop/notes"), 130),
        (("mcp", "--ws", "shop"), 130),
        (("serve", "--port", "0", "--no-auth"), 0),
    ],
)
def test_ctrl_c_ends_what_runs(words: tuple[str, ...], status: int, workspaces: Path) -> None:
    environ = {name: text for name, text in os.environ.items() if not name.startswith("MIXKIT_")}
    if words[0] == "db":
        made = [sys.executable, "-m", "mixkit", "db", "init", "--app", "shop/notes"]
        subprocess.run(made, cwd=workspaces, env=environ, check=False, capture_output=True, timeout=60)
    process = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "mixkit", *words],
        cwd=workspaces, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    said: list[bytes] = []

    def read(stream: IO[bytes]) -> None:
        said.extend(iter(stream.readline, b""))

    readers = [threading.Thread(target=read, args=(stream,)) for stream in (process.stdout, process.stderr)]
    for reader in readers:
        reader.start()
    try:
        # They run by then; earlier, while they start, they would end in the same way, but for the server.
        end = time.monotonic() + (60 if words[0] == "serve" else 3)
        while time.monotonic() < end and not any(b"listening on" in line for line in said):
            assert process.poll() is None, said
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == status, said
    finally:
        process.kill()
        process.wait()
        for reader in readers:
            reader.join()
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            stream.close()
    assert b"Traceback" not in b"".join(said)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("list", "s"), {"shop"}),
        (("list", "shop/"), {"shop/notes"}),
        (("app", "show", "shop/n"), {"shop/notes"}),
        (("run", "shop/n"), {"shop/notes", "shop/n"}),
        (("-p", "sn"), {"snowflake"}),
        (("profile", "show", "wid"), {"widget"}),
        (("ffi", "show", "$http_do_"), {"$http_do_server"}),
        (("list", "none/"), {""}),
        (("list", "--ws-dir", "elsewhere", ""), {""}),
    ],
)
def test_a_shell_is_offered_the_names_that_there_are(
    words: tuple[str, ...], offered: set[str], workspaces: Path
) -> None:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MIXKIT_")}
    environ = {
        **kept,
        "_MIXKIT_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["mixkit", *(f"'{word}'" if word else "" for word in words)]).rstrip(),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-m", "mixkit"],
        cwd=workspaces, env=environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} | (
        {""} if "" in offered else set()
    ) == offered
