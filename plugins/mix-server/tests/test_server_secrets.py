"""The names of secrets, for who administers the app they belong to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
from mix_secrets.names import Name
from mix_secrets.vaults import FOLDER, app_of, found_in
from mix_server.server import Server

PATH = "/v1/ws/w/app/demo/secrets"
VALUE = b"what nobody sees"
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    """A server with secrets in the app `demo`, and in another one."""
    made = make_server()
    workspace = made.store.workspace("w")
    workspace.create_app("other")
    vault = found_in(workspace.root / FOLDER, "w", made.kernel.keyring)
    for app, user, kind, name in (
        ("demo", "ada@example.org", "secret", "mail"),
        ("demo", "", "token", "<b>api</b>"),
        ("other", "ada@example.org", "secret", "hidden"),
    ):
        vault.put(Name(app_of(workspace.place(app)), user, kind, name), VALUE)  # type: ignore[arg-type]
    return made


async def test_names_are_listed_and_nothing_else(server: Server, connect: Connect) -> None:
    async with connect(server) as client:
        answer = await client.get(PATH)
        listed = answer.json()["secrets"]
        assert [(each["user"], each["kind"], each["name"]) for each in listed] == [
            ("", "token", "<b>api</b>"),
            ("ada@example.org", "secret", "mail"),
        ]
        assert all(set(each) == {"name", "user", "kind", "version", "changed"} for each in listed)
        assert VALUE not in answer.content and b"hidden" not in answer.content
        assert answer.headers["Cache-Control"] == "no-store"
        assert (await client.get("/v1/ws/w/app/none/secrets")).status_code == 404
        assert (await client.get("/v1/ws/none/app/demo/secrets")).status_code == 404


@pytest.mark.parametrize(("role", "status"), [("admin", 200), ("editor", 403), ("runner", 403)])
async def test_only_who_administers_the_app_sees_them(
    server: Server, connect: Connect, role: str, status: int
) -> None:
    _, token = server.grants.make_machine("w", "m", [(role, "db/demo")], None, None)
    async with connect(server, token) as client:
        assert (await client.get(PATH)).status_code == status
        assert (await client.get("/v1/ws/w/app/other/secrets")).status_code == 404
