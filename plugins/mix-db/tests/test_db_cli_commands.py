"""`mixkit db`, as a person and as a script uses it."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mix_db import Database
from mix_db.storages import Mixquery

from mixkit.cli import main
from mixkit.databases import Databases
from mixkit.package import WorkspaceStore
from mixkit.storage import Place

MAIN = [sys.executable, "-c", "from mixkit.cli import main; raise SystemExit(main())"]


class Done:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def rows(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Shell:
    """Runs `mixkit db` on one database, in this process or in one of its own."""

    def __init__(self, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.profile = folder / "profile.toml"
        self.profile.write_text('plugins = ["db"]\n')
        self._capsys = capsys
        self._patch = monkeypatch
        monkeypatch.chdir(folder)
        monkeypatch.setenv("MIXKIT_DB", str(folder / "data"))

    def __call__(self, *words: str | Path, stdin: bytes = b"", status: int = 0) -> Done:
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self._capsys.readouterr()
        found = main(["--profile", str(self.profile), "db", *map(str, words)])
        captured = self._capsys.readouterr()
        assert found == status, captured.out + captured.err
        return Done(found, captured.out, captured.err)

    def command(self, *words: str | Path) -> list[str]:
        return [*MAIN, "--profile", str(self.profile), "db", *map(str, words)]

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path


@pytest.fixture
def shell(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> Shell:
    made = Shell(tmp_path, capsys, monkeypatch)
    made("init")
    return made


def people(shell: Shell, count: int = 5) -> list[str]:
    lines = "".join(json.dumps({"name": f"p{n}", "age": n}) + "\n" for n in range(count))
    return shell("put", stdin=lines.encode()).out.split()


def test_settings_count_as_for_any_command(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("init")
    shell("put", '{"n": 1}')
    shell.profile.write_text('plugins = ["db"]\n[settings.db]\nmax_record_bytes = 1024\n')
    long = json.dumps({"text": "x" * 2_000})
    assert "1024" in shell("put", long, status=1).err.replace(",", "")
    monkeypatch.setenv("MIXKIT_DB_MAX_RECORD_BYTES", "4096")
    shell("put", long)
    monkeypatch.setenv("MIXKIT_DB_MAX_RECORD_BYTES", "many")
    assert "MIXKIT_DB_MAX_RECORD_BYTES" in shell("get", "x" * 32, status=1).err
    monkeypatch.delenv("MIXKIT_DB_MAX_RECORD_BYTES")
    shell.profile.write_text('plugins = ["db"]\n[settings.db]\nquotta = 1\n')
    for words in (["query", "n == 1"], ["put", "{}"], ["check"]):
        assert "did you mean 'quota'" in shell(*words, status=1).err, words


def test_put_get_delete_history(shell: Shell) -> None:
    (id,) = shell("put", '{"name": "Ann", "_rmx_type": "person"}').out.split()
    shell("put", "--upsert", json.dumps({"_rmx_id": id, "age": 4}))
    (found,) = shell("get", id).rows
    assert (found["name"], found["age"], found["_rmx_type"]) == ("Ann", 4, "person")
    assert json.loads(shell("delete", id, "nobody", "--yes", "--json").out)["deleted"] == 1
    missing = shell("get", id, status=1)
    assert missing.out == "" and f"no record {id}" in missing.err
    assert json.loads(shell("get", id, "--json", status=1).out) == [None]
    versions = shell("history", id).rows
    assert [version.get("_rmx_deleted", False) for version in versions] == [False, False, True]
    text = shell("history", id, "--format", "text").out
    assert [line.split()[-1] for line in text.splitlines() if line[0].isdigit()] == [
        "made",
        "changed",
        "deleted",
    ]
    assert "  + age: 4\n" in text and "  - name: Ann\n" in text
    assert "no record has or had the id" in shell("history", "x", status=1).err


def test_records_of_one_put_refer_to_each_other(shell: Shell) -> None:
    ref = {"_rmx_type": "{tag}case:db.ref", "_rmx_value": "b"}
    done = json.loads(shell("put", json.dumps({"to": ref}), '{"_rmx_id": "b"}', "--json").out)
    (found,) = shell("query", "exists to").rows
    assert found["to"]["_rmx_value"] == done["ids"][1] != "b"


def test_what_was_put_with_an_own_id_is_replaced_under_it(shell: Shell) -> None:
    shell("put", "--original-id-always", '{"_rmx_id": "C1", "n": 1}')
    (read,) = shell("get", "C1").rows
    assert shell("put", json.dumps(read | {"n": 2})).out.split() == ["C1"]
    assert [row["n"] for row in shell("query", "exists n").rows] == [2]


def test_a_clock_that_was_ahead_is_told(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    real, year = time.time_ns, 31_557_600
    shell("put", '{"n": 1}')
    assert json.loads(shell("stats", "--json").out)["clock_ahead"] == 0
    monkeypatch.setattr(time, "time_ns", lambda: real() + year * 10**9)
    shell("put", '{"n": 2}')
    monkeypatch.setattr(time, "time_ns", real)
    shell("put", '{"n": 3}')
    assert abs(json.loads(shell("stats", "--json").out)["clock_ahead"] - year * 1000) < 600_000
    told = json.loads(shell("check", "--json").out)
    (remark,) = told["remarks"]
    assert told["ok"] and "clock was ahead" in remark and "watermark" in remark
    assert "clock was ahead" in shell("check").err
    with Database("data") as database:
        (found,) = database.check()
        assert "clock was ahead" in found


def test_two_who_change_a_record_notice_each_other(shell: Shell) -> None:
    (id,) = shell("put", '{"n": 1}').out.split()
    (mine,) = (theirs,) = shell("get", id).rows
    shell("put", "--unchanged", json.dumps(theirs | {"n": 2}))
    refused = shell("put", "--unchanged", json.dumps(mine | {"n": 3}), '{"n": 4}', "--json", status=1)
    told = json.loads(refused.out)
    assert (told["ok"], told["kind"]) == (False, "conflict")
    assert f"of {mine['_rmx_rev']}, found" in told["message"] and "$[0]" in told["message"]
    assert [row["n"] for row in shell("query", "true").rows] == [2]
    absent = json.dumps({"_rmx_id": "0" * 32, "_rmx_rev": None})
    shell("put", "--unchanged", absent)
    assert "read it again" in shell("put", "--unchanged", absent, status=1).err


def test_nothing_of_a_put_is_stored_if_one_record_is_refused(shell: Shell) -> None:
    assert "$[1]" in shell("put", "{}", "[]", status=1).err
    assert shell("put", '{"a": 1', status=2).err.count("expected JSON") == 1
    assert "standard input, line 2" in shell("put", stdin=b"{}\n{\n", status=1).err
    assert json.loads(shell("stats", "--json").out)["records"] == 0


def test_query(shell: Shell) -> None:
    people(shell)
    assert [row["name"] for row in shell("query", "age >= $age", "-p", "age:=3").rows] == ["p3", "p4"]
    assert shell("query", "-", stdin=b"true | count()").rows == [{"count": 5}]
    assert shell("query", '["comparison", "==", "age", 3]', "--ast").rows[0]["name"] == "p3"
    assert json.loads(shell("query", "age < 2 | { name }", "--json").out) == [{"name": "p0"}, {"name": "p1"}]
    table = shell("query", "age < 2 | { name, age, list: [1] }", "--format", "table").out
    assert [line.split() for line in table.splitlines()] == [
        ["name", "age", "list"],
        ["p0", "0", "[1]"],
        ["p1", "1", "[1]"],
    ]
    assert shell("query", "age < 1 | { name }", "-f", "csv").out == "name\r\np0\r\n"
    plan = json.loads(shell("query", "age < 2", "--explain", "--json").out)
    assert plan["rows"] == 2
    assert "age < 2" in shell("explain", "age < 2").out


def test_what_a_shell_gives_is_a_value_and_never_a_part_of_the_query(shell: Shell) -> None:
    people(shell)
    for attack in [
        'p0" or true or name == "',
        "true",
        "null",
        "1 or true",
        "$x",
        '{"_rmx_type":"{tag}null"}',
    ]:
        assert shell("query", "name == $name", "-p", f"name={attack}").rows == []
    assert [row["name"] for row in shell("query", "age == $age", "-p", "age=3").rows] == ["p3"]
    assert shell("query", "age == $age", "-p", 'age="3"').rows == []
    assert [
        row["name"] for row in shell("query", "name == $n and age in $a", "-p", 'n="p3"', "-p", "a=[3]").rows
    ] == ["p3"]
    for wrong in ("name", "=x", "na me=x", "name:=oops"):
        assert "--param" in shell("query", "true", "-p", wrong, status=2).err
    assert "name" in shell("query", "name == $name", status=1).err


def test_the_past(shell: Shell) -> None:
    (id,) = shell("put", '{"n": 1}').out.split()
    before = shell("get", id).rows[0]
    shell("put", json.dumps({"_rmx_id": id, "n": 2}))
    for moment in (before["_rmx_rev"], "2999-01-01T00:00Z"):
        expected = 1 if moment == before["_rmx_rev"] else 2
        assert shell("query", "true", "--as-of", moment).rows[0]["n"] == expected
    assert len(shell("query", "true", "--superseded").rows) == 2
    assert shell("query", "true", "--as-of", "1").rows == []
    for wrong in ("yesterday", "2026-01-01", "2026-01-01T00:00"):
        assert "--as-of" in shell("query", "true", "--as-of", wrong, status=2).err


def test_delete_where_asks_first(shell: Shell) -> None:
    people(shell)
    assert (
        "it deletes 3 records; say --yes"
        in shell("delete", "--where", "age > $n", "-p", "n:=1", status=2).err
    )
    assert shell("delete", "--where", "age > $n", "-p", "n:=1", "--yes").out == "deleted 3\n"
    assert [row["age"] for row in shell("query", "true").rows] == [0, 1]
    assert "whole records" in shell("delete", "--where", "true | { age }", "-y", status=2).err
    assert "give ids, or --where" in shell("delete", status=2).err


@pytest.mark.parametrize(
    "name", ["o.ndjson", "o.json", "o.msgpack", "o.csv", "o.tsv", "o.parquet", "o.csv.gz"]
)
def test_export_and_import(shell: Shell, name: str) -> None:
    people(shell)
    assert shell("export", "-o", name).out == f"{name}: 5 rows\n"
    other = ["--db", shell.folder / "other"]
    shell("init", *other)
    assert shell("import", name, *other).out == f"{name}: 5 imported\n"
    assert shell("export", *other).out == shell("export").out
    assert "imported before" in shell("import", name, *other).out
    (done,) = json.loads(shell("import", name, *other, "--json").out)
    assert done["already"] and done["imported"] == 5


def test_export_of_a_query(shell: Shell) -> None:
    people(shell)
    out = shell("export", "-q", "age > $n | { name, age }", "-p", "n:=2", "-f", "csv", "--untyped").out
    assert list(csv.reader(io.StringIO(out))) == [["name", "age"], ["p3", "3"], ["p4", "4"]]
    assert "_rmx_rev" in shell("export", "--own-fields").rows[0]
    assert "--param goes with --query" in shell("export", "-p", "n:=2", status=2).err


def test_an_import_that_is_refused_in_part(shell: Shell) -> None:
    path = shell.write("in.ndjson", '{"n":1}\n{"n":\n{"n":3}\n')
    stopped = shell("import", path, status=1)
    assert "line 2" in stopped.err and "--on-error skip" in stopped.err
    done = shell("import", path, "--on-error", "skip")
    assert "2 imported, 1 refused, kept in in.ndjson.rejects.ndjson" in done.out
    (kept,) = [
        json.loads(line) for line in (shell.folder / "in.ndjson.rejects.ndjson").read_text().splitlines()
    ]
    assert (kept["place"], kept["text"]) == (2, '{"n":')


def test_a_table_says_what_it_guessed(shell: Shell) -> None:
    path = shell.write("in.csv", "name,zip,n\nann,00100,1\n")
    assert "name string, zip string, n number" in shell("import", path).err
    (row,) = shell("query", "n == 1").rows
    assert (row["zip"], row["n"]) == ("00100", 1)
    assert "--types" in shell("import", path, "--types", "n=integer", status=2).err


def test_standard_input(shell: Shell) -> None:
    assert "which format" in shell("import", "-", stdin=b'{"n":1}', status=2).err
    assert shell("import", "-", "-f", "ndjson", stdin=b'{"n":1}').out == "-: 1 imported\n"


def test_upkeep(shell: Shell) -> None:
    ids = people(shell)
    shell("delete", ids[0], "--yes")
    shell("flush")
    assert json.loads(shell("stats", "--json").out)["versions"] == 6
    assert "2 versions for good; say --yes" in shell("compact", "--drop-history", status=2).err
    assert json.loads(shell("compact", "--drop-history", "--yes", "--json").out)["dropped"] == 2
    copied = json.loads(shell("backup", "copies/today", "--json").out)
    assert copied["database"] == "copies/today"
    assert shell("query", "", "--db", "copies/today").rows == shell("query", "").rows
    assert "empty folder" in shell("backup", "copies/today", status=1).err
    assert json.loads(shell("check", "--json").out) == {
        "ok": True,
        "findings": [],
        "remarks": [],
        "locked": True,
    }
    assert shell("repair").out == "nothing is damaged\n"


def test_damage_is_found_and_repaired(shell: Shell) -> None:
    people(shell)
    shell("flush")
    damaged = next((shell.folder / "data").glob("db*.dat"))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    found = shell("check", status=1)
    assert damaged.name in found.out and "mixkit db repair" in found.err
    assert not json.loads(shell("check", "--json", status=1).out)["ok"]
    assert shell("repair", "--dry-run", status=1).out == "nothing was changed\n"
    assert "say --yes" in shell("repair", status=2).err
    report = json.loads(shell("repair", "--yes", "--json").out)
    assert (report["rows"], report["lost"]) == (4, 1) and report["aside"]
    shell("check")
    assert sorted(row["age"] for row in shell("query", "true").rows) != [0, 1, 2, 3, 4]
    assert shell("query", "true | count()").rows == [{"count": 4}]


def test_a_database_on_a_read_only_mount_can_be_checked_and_asked(shell: Shell) -> None:
    people(shell)
    data = shell.folder / "data"
    # In namespaces of its own, where anybody may mount.
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'

    def mounted(*command: str | Path) -> subprocess.CompletedProcess[str]:
        unshare = ["unshare", "-rm", "sh", "-c", script, "sh", str(data), *map(str, command)]
        return subprocess.run(unshare, capture_output=True, text=True, check=False)

    if mounted("true").returncode:
        pytest.skip("this user may not mount anything, not even in namespaces of its own")
    before = {path: path.read_bytes() for path in data.iterdir()}
    found = mounted(*shell.command("check"))
    assert found.returncode == 0, found.stderr
    assert found.stdout == "everything is as it was written\n"
    assert "without the write lock" in found.stderr
    assert json.loads(mounted(*shell.command("check", "--json")).stdout)["locked"] is False
    assert len(mounted(*shell.command("query", "true")).stdout.splitlines()) == 5
    refused = mounted(*shell.command("put", '{"n": 1}'))
    assert refused.returncode == 1
    assert "mounted read-only" in refused.stderr
    (data / "writelog").write_bytes(before[data / "writelog"] + b"unfinished")
    assert "unfinished commit" in mounted(*shell.command("check")).stdout


def test_a_database_that_does_not_open_can_be_checked_and_repaired(shell: Shell) -> None:
    ids = people(shell)
    shell("flush")
    shell("put", json.dumps({"_rmx_id": ids[0], "age": 50}))
    shell("flush")
    (shell.folder / "data" / "writelog").write_bytes(b"nonsense")
    assert "mixkit db check" in shell("query", "true", status=1).err
    assert "writelog" in shell("check", status=1).out
    shell("repair", "--yes")
    # The link between the versions is there again.
    assert sorted(row["age"] for row in shell("query", "true").rows) == [1, 2, 3, 4, 50]
    assert len(shell("history", ids[0]).rows) == 2


def test_which_database(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = shell("query", "true", "--db", "nowhere", status=1)
    assert "mixkit db init --db nowhere" in nowhere.err
    assert not (shell.folder / "nowhere").exists()
    for command in ("check", "repair"):
        assert "found none" in shell(command, "--db", "nowhere", status=1).err
    with closing(Databases(Mixquery)) as databases:
        WorkspaceStore(shell.folder / "ws", databases).create("team").create_app("notes")
    place = ["--ws-dir", "ws", "--app", "team/notes"]
    shell("init", *place)
    shell("put", '{"n": 1}', *place)
    assert len(shell("query", "true", *place).rows) == 1
    assert shell("sql", "--tables", *place).rows == [{"table": "records", "type": None, "records": 1}]
    assert shell("query", "true").rows == []
    assert "not both" in shell("query", "true", "--db", "x", *place, status=2).err
    assert "WS/APP" in shell("query", "true", "--ws-dir", "ws", "--app", "notes", status=2).err
    assert "goes with --app" in shell("query", "true", "--ws-dir", "ws", status=2).err
    assert "WS/APP" in shell("query", "true", "--ws-dir", "ws", "--app", "team/../notes", status=2).err
    assert (
        "did you mean 'team'?"
        in shell("query", "true", "--ws-dir", "ws", "--app", "taem/notes", status=1).err
    )
    shell.profile = Path("test")  # which has no server whose directory it could be
    assert "Give --ws-dir" in shell("query", "true", "--app", "team/notes", status=2).err
    monkeypatch.setenv("MIXKIT_SERVER_WS_DIR", "ws")
    shell.profile = Path("agent_server")
    assert len(shell("query", "true", "--app", "team/notes").rows) == 1
    monkeypatch.delenv("MIXKIT_DB")
    assert "which database?" in shell("query", "true", status=2).err


def test_what_no_record_has_is_said_at_the_side(shell: Shell) -> None:
    people(shell)
    done = shell("query", "agge > 3")
    assert done.out == ""
    assert "warning: no record has a field 'agge'; did you mean 'age'?" in done.err
    assert "warning" not in shell("query", "age > 3").err
    assert "warning: no record has a string" in shell("query", "age > $n", "-p", 'n="3"').err
    assert "warning: no record has" in shell("explain", "agge > 3").out
    for words in (("delete", "--where", "agge > 3", "--yes"), ("export", "-q", "agge > 3")):
        assert "did you mean 'age'?" in shell(*words).err
    assert shell("export").err == ""
    assert json.loads(shell("explain", "age > 3", "--json").out)["warnings"] == []


def test_a_query_from_a_file_or_standard_input(shell: Shell) -> None:
    people(shell)
    shell.write("q", "\ufeffage > 3\n| { name }\n")
    assert (
        shell("query", "@q").rows
        == shell("query", "-", stdin=b"\xef\xbb\xbfage > 3 | { name }").rows
        == [{"name": "p4"}]
    )
    assert "0xff in line 2" in shell("query", "-", stdin=b"age\n> \xff", status=2).err
    assert "cannot read" in shell("query", "@nowhere", status=2).err


@pytest.mark.parametrize("first", ["run", "db"])
def test_a_database_of_run_has_the_same_name_here(shell: Shell, first: str) -> None:
    def run() -> None:
        with closing(Mixquery().open(Place("desk", "code", shell.folder / "d"))) as database:
            database.save([{"by": "run"}])

    if first == "run":
        run()
        shell("put", '{"by": "db"}', "--db", "d")
    else:
        shell("init", "--db", "d")
        shell("put", '{"by": "db"}', "--db", "d")
        run()
    assert {row["by"] for row in shell("query", "true", "--db", "d").rows} == {"run", "db"}
    assert shell("check", "--db", "d").out
    assert json.loads(shell("stats", "--db", "d", "--json").out)["records"] == 2
    shell("backup", "copy", "--db", "d")
    assert len(shell("query", "true", "--db", "copy").rows) == 2


def test_errors_as_json(shell: Shell) -> None:
    assert json.loads(shell("query", "n <", "--json", status=1).out)["kind"] == "query_syntax"
    assert json.loads(shell("query", "--json", status=2).out)["kind"] == "usage"


def test_tail(shell: Shell) -> None:
    people(shell, 2)
    (id,) = shell("put", '{"n": 1}').out.split()
    shell("delete", id, "--yes")
    assert len(shell("tail", "--since", "0", "--until-now").rows) == 4
    assert [row.get("_rmx_deleted") for row in shell("tail", "--since", "2", "--until-now").rows] == [True]
    assert shell("tail", "--until-now").out == ""
    assert "watermark" in shell("tail", "--since", "x", status=1).err
    assert shell("tail", "--since", "99", status=1).err


def test_tail_follows_others_and_ends_quietly(shell: Shell) -> None:
    # A shell starts background jobs with the signal ignored, and what they start inherits that.
    command = ["env", "--default-signal=INT", *shell.command("tail", "--since", "0")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for n in range(2):
                shell("put", json.dumps({"n": n}))
                assert json.loads(process.stdout.readline())["n"] == n
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors.strip()) == (130, "")


def test_a_closed_pipe_is_no_error(shell: Shell) -> None:
    people(shell, 3000)
    for words in (["query", "true"], ["export"]):
        done = subprocess.run(
            ["bash", "-c", '"$@" | head -1', "bash", *shell.command(*words)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert len(done.stdout.splitlines()) == 1 and done.stderr == ""


def test_a_terminal_gets_a_table_that_fits_and_no_tricks(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shell("put", json.dumps({"evil": "\x1b[2J\u202e" + "x" * 500, "name\t": "é漢字", "n": 1}))
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        shell.command("query", "true"), stdout=follower, stderr=follower, stdin=follower
    )
    os.close(follower)
    printed = b""
    try:
        while chunk := os.read(leader, 4096):
            printed += chunk
    except OSError:
        # How Linux tells that nobody has the other end open.
        pass
    os.close(leader)
    assert process.wait() == 0
    text = printed.decode().replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert "\x1b" not in text and "\u202e" not in text
    heading, row = text.splitlines()
    assert heading.split() == ["evil", "name\\t", "n", "_rmx_id"]
    assert "漢字" in row and "…" in row
    assert max(len(heading), len(row) + 2) <= 60


def test_help_imports_nothing_heavy(shell: Shell) -> None:
    script = (
        "import sys; from mixkit.cli import main; main(sys.argv[1:]); "
        "found = {'duckdb', 'pyroaring', 'msgpack', 'mix_db.database'} & set(sys.modules); "
        "raise SystemExit(f'imported: {found}' if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--profile", str(shell.profile), "db", "--help"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "repair" in done.stdout


def test_an_import_that_is_killed_again_and_again(shell: Shell) -> None:
    count = 20_000
    path = shell.write("in.ndjson", "".join(f'{{"n":{n}}}\n' for n in range(count)))
    command = shell.command("import", path, "--batch", "100")
    killed = 0
    for attempt in range(40):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if attempt < 5:
            # Behind the start of the interpreter, at moments that differ.
            time.sleep(0.3 + attempt * 0.061)
            process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        if process.returncode == 0:
            break
    assert killed
    found = [row["n"] for row in shell("query", "true | { n }").rows]
    assert found == list(range(count))
    shell("check")
