"""`mixkit explain`."""

from __future__ import annotations

import click

from mix_lang.codes import codes
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.near import meant

__all__ = ["explain"]


@click.command("explain")
@click.argument("code", required=False)
@json_option
@pass_session
def explain(session: Session, code: str | None) -> None:
    """Say what a CODE of the Mix compiler is about, such as M0301. Without one, list them all."""
    known = codes()
    if code is None:
        about = {name: " ".join(text.partition("\n\n")[0].split()) for name, text in known.items()}
        Output(session.as_json).record(about)
        return
    found = known.get(code.upper())
    if found is None:
        raise click.BadParameter(f"there is no code {code!r}{meant(code, known)}", param_hint="CODE")
    if session.as_json:
        Output().document({"code": code.upper(), "text": found})
    else:
        Output().line(found)
