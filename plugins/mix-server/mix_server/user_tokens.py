"""`mixkit auth token`: a token of a user, made beside the server, for where there is no identity provider."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import click

from mix_server.access.server_key import LIFETIME, ServerKey
from mix_server.access.subject import check_subject
from mix_server.errors import BadRequest
from mixkit.activities import Kind
from mixkit.cli.choices import ws_dir_option
from mixkit.cli.noted import noted
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.cli.workspaces import open_store

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["token"]


@click.command("token")
@click.argument("email")
@click.option(
    "--seconds",
    type=click.IntRange(1, LIFETIME),
    default=LIFETIME,
    metavar="N",
    help=f"For how long it is good; {LIFETIME // 3600} hours by default, which is the most.",
)
@json_option
@ws_dir_option
@pass_session
def token(session: Session, email: str, seconds: int, ws_dir: Path | None) -> None:
    """Make a token of the server for the user EMAIL, as `POST /v1/auth/token` answers one to a user who is signed in.

    It is signed with the key of the server of that directory, whose operator can do everything anyway: to look at the
    server as one of its users, and where no identity provider signs them in.
    """
    try:
        subject = check_subject(f"user/{email}")
    except BadRequest:
        raise click.BadParameter(
            f"expected an address, as ada@example.org, found {email!r:.200}", param_hint="EMAIL"
        ) from None
    with session.kernel() as kernel:
        store = open_store(kernel, ws_dir)
        key = ServerKey(kernel.settings("server").server_key, functools.partial(getattr, kernel, "keyring"))
        address = subject.partition("/")[2]
        with noted(store, Kind.SIGN_IN, None) as about:
            made, until = key.token(address, address, seconds)
            about["user"] = subject
    out = Output(session.as_json)
    if session.as_json:
        out.document({"token": made, "until": until, "seconds": seconds})
    else:
        out.line(made)
