"""`mixkit perms`, beside a server's directory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MIXKIT = str(Path(sys.executable).with_name("mixkit"))

Run = Callable[..., str]


@pytest.fixture
def mixkit(tmp_path: Path) -> Run:
    """Calls the command line with a directory of workspaces that has the workspace crm."""

    def call(*words: str, status: int = 0) -> str:
        done = subprocess.run(
            [MIXKIT, *words, "--ws-dir", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stdout or done.stderr

    call("ws", "create", "crm")
    return call


def test_grants_from_the_command_line(mixkit: Run) -> None:
    made = json.loads(
        mixkit("perms", "grant", "user/Ada@Example.org", "runner", "db/contacts", "--ws", "crm", "--json")
    )
    assert made == {
        "id": made["id"], "subject": "user/ada@example.org", "role": "runner", "resource": "db/contacts", "new": True,
    }  # fmt: skip
    assert (
        mixkit("perms", "list", "--ws", "crm") == f"user/ada@example.org\trunner\tdb/contacts\t{made['id']}\n"
    )
    said = mixkit("perms", "explain", "user/ada@example.org", "write", "db/contacts", "--ws", "crm", status=1)
    assert said.startswith("user/ada@example.org may not write db/contacts\n")
    assert "user/ada@example.org is runner of db/contacts: does not" in said
    assert "none of these was granted anything for workspace" in said
    assert "needed: editor or admin, of db/contacts or workspace" in said
    why = json.loads(
        mixkit("perms", "explain", "user/ada@example.org", "run", "agent/contacts/x", "--ws", "crm", "--json")
    )
    assert (why["allowed"], why["because"]["id"]) == (True, made["id"])
    assert "because it holds db/contacts" in mixkit(
        "perms", "explain", "user/ada@example.org", "see", "--ws", "crm"
    )
    # Who looks later sees it beside what was granted over HTTP.
    (noted,) = json.loads(mixkit("logs", "crm", "--kind", "grant", "--json"))
    assert (noted["subject"], noted["about"]["id"]) == ("operator", made["id"])
    call = ("perms", "explain", "user/bob@example.org", "run", "agent/contacts/x", "--ws", "crm")
    agent = "agent/:crm.mail.send"
    assert f"or {agent}, which calls it" in mixkit(*call, "--via", agent, status=1)
    by_agent = json.loads(mixkit("perms", "grant", agent, "runner", "db/contacts", "--ws", "crm", "--json"))
    assert f"{agent} is runner of db/contacts: allows it" in mixkit(*call, "--via", agent)
    assert "expected an agent of the workspace" in mixkit(*call, "--via", "all-users", status=1)
    mixkit("perms", "revoke", by_agent["id"], "--ws", "crm")
    gone = json.loads(mixkit("perms", "revoke", made["id"], made["id"], "--ws", "crm", "--json"))
    assert [each["id"] for each in gone] == [made["id"]]
    assert "nobody but the operator" in mixkit("perms", "list", "--ws", "crm")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("grant", "ada", "runner"), "expected the subject user/EMAIL"),
        (("grant", "all-users", "runer"), "runner"),
        (("grant", "all-users", "runner", "db"), "expected the resource"),
        (("explain", "all-users", "wirte"), "write"),
        (
            ("revoke", "grant:none"),
            "no such grant in workspace 'crm', found 'grant:none'; nothing was taken back",
        ),
    ],
)
def test_what_is_refused(mixkit: Run, words: tuple[str, ...], message: str) -> None:
    assert message in mixkit("perms", *words, "--ws", "crm", status=1)


def test_a_grant_for_an_app_that_is_not_there_says_so(mixkit: Run, tmp_path: Path) -> None:
    mixkit("app", "create", "crm/contacts")

    def noted(resource: str) -> str:
        words = [
            MIXKIT,
            "perms",
            "grant",
            "all-users",
            "runner",
            resource,
            "--ws",
            "crm",
            "--ws-dir",
            str(tmp_path),
        ]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
        return done.stderr

    expected = "no app 'contcats' in workspace 'crm' yet; it holds when there is one; did you mean"
    assert expected in noted("agent/contcats/x")
    assert noted("db/contacts") == ""
