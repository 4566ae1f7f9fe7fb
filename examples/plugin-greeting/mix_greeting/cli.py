"""`mixkit greet`."""

from __future__ import annotations

import click

from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session

__all__ = ["greet"]


@click.command()
@click.argument("name")
@json_option
@pass_session
def greet(session: Session, name: str) -> None:
    """Greet NAME with the words of the profile."""
    with session.kernel() as kernel:
        words = kernel.settings("greeting").greeting
    Output(session.as_json).record({"greeting": f"{words}, {name}!"})
