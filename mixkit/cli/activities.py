"""`mixkit logs`: what is done in workspaces, and what guests write meanwhile; shown, and followed."""

from __future__ import annotations

import json
import re
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mixkit.cli.choices import server_option, server_to_ask, token_option, ws_dir_option
from mixkit.cli.output import Output, safe_json
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.cli.workspaces import find_workspace, open_store

if TYPE_CHECKING:
    from mixkit.cli.follow import Source

__all__ = ["logs"]

_OUTPUT: Final = "output"
_KINDS: Final = (
    "run", "save", "install", "remove", "grant", "revoke", "create", "delete", "sign-in", "configure", "export",
    "import", "signal", _OUTPUT,
)  # fmt: skip
_RESULTS: Final = ("ok", "failed", "refused", "timeout", "stopped", "fault")
_LEVELS: Final = ("debug", "info", "warning", "error")
_AGO: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PAUSE: Final = 0.25


@click.command()
@click.argument("where", required=False, metavar="[WS[/APP[/AGENT]]]")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--since", metavar="TIME", help="From then on: 10m, 2h, 1d, or 2026-01-31T12:00:00Z.")
@click.option("--kind", "kinds", type=click.Choice(_KINDS), multiple=True, help="Of that kind. Repeatable.")
@click.option("--result", type=click.Choice(_RESULTS), help="That ended so.")
@click.option("--subject", metavar="SUBJECT", help="By whom, as user/EMAIL or operator.")
@click.option("--run", metavar="ID", help="Of one run, which is its X-Request-Id.")
@click.option(
    "--limit",
    type=click.IntRange(0, 1000),
    default=100,
    show_default=True,
    help="How many there are shown at most of those that were before, of each workspace.",
)
@ws_dir_option
@server_option
@token_option
@json_option
@pass_session
def logs(
    session: Session,
    /,
    where: str | None,
    follow: bool,
    since: str | None,
    kinds: tuple[str, ...],
    result: str | None,
    subject: str | None,
    run: str | None,
    limit: int,
    ws_dir: Path | None,
    server: str | None,
    token: str | None,
) -> None:
    """Show what is done in a workspace, an app or an agent, by whom, and what its guests write.

    Beside a server that runs too, or of the one at --server. Without WS of all workspaces. With --json a document, or
    with --follow an object a line.
    """
    url = server_to_ask(session, server, ws_dir, token)
    workspace, *inner = (where or "").split("/")
    if len(inner) > 2 or not all(inner) or (inner and not workspace):
        raise click.BadParameter(f"expected WS, WS/APP or WS/APP/AGENT, found {where!r}", param_hint="WS")
    options = {"result": result, "subject": subject, "run": run, "since": since and _moment(since)}
    options |= dict(zip(("app", "agent"), inner, strict=False))
    given = {name: text for name, text in options.items() if text is not None}
    if len(kinds) == 1 and kinds != (_OUTPUT,):
        given["kind"] = kinds[0]
    out = Output(session.as_json)
    with _source(session, workspace or None, given, ws_dir, url, token) as source:
        past = [each for each in source.past(limit) if _is_wanted(each, kinds, result)]
        if session.as_json and not follow:
            out.document(past)
            return
        if not past and not follow:
            app, agent = (*inner, None, None)[:2]
            out.note(f"nothing yet{source.near(app, agent) if app is not None else ''}")
        for each in past:
            _print(each, out)
        while follow and _is_read():
            sys.stdout.flush()
            time.sleep(_PAUSE)
            for each in source.more():
                if _is_wanted(each, kinds, result):
                    _print(each, out)


@contextmanager
def _source(
    session: Session,
    workspace: str | None,
    given: dict[str, str],
    ws_dir: Path | None,
    url: str | None,
    token: str | None,
) -> Iterator[Source]:
    from mixkit.cli.follow import Here, Server

    if url is not None:
        server = Server(url, token, workspace, given)
        try:
            yield server
        finally:
            server.close()
        return
    from mixkit.activities import Activities, Kind, Result, Wanted

    wanted: dict[str, Any] = dict(given)
    for name, kind in (("kind", Kind), ("result", Result)):
        if name in given:
            wanted[name] = kind(given[name])
    if "since" in given:
        wanted["since"] = int(datetime.fromisoformat(given["since"]).timestamp() * 1_000_000)
    with session.kernel() as kernel:
        store = open_store(kernel, ws_dir)
        if workspace is not None:
            find_workspace(store, workspace)
        yield Here(store, Activities(store, kernel.settings("kernel")), workspace, Wanted(**wanted))


def _is_wanted(each: dict[str, Any], kinds: tuple[str, ...], result: str | None) -> bool:
    kind = _OUTPUT if "text" in each else each["kind"]
    # What a guest writes has no result.
    return kind in kinds if kinds else not (result and kind == _OUTPUT)


def _moment(text: str) -> str:
    """A time as the server takes it: of one that is given, or that was so long ago."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return (datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).isoformat()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None:
        raise click.BadParameter(
            f"expected how long ago, as 10m, 2h or 1d, or a time, as 2026-01-31T12:00:00Z; found {text!r}",
            param_hint="--since",
        )
    return found.astimezone(UTC).isoformat()


def _print(each: dict[str, Any], out: Output) -> None:
    if out.as_json:
        click.echo(safe_json(json.dumps(each, ensure_ascii=False)))
        return
    names = ("workspace", "app", "agent")
    where = "/".join(each[name] for name in names if each.get(name)) or "server"
    run = f" [{each['run']}]" if each.get("run") else ""
    if "text" in each:
        level = _LEVELS[each["level"]]
        out.line(
            f"{each['time']} {where} {level} | {each['text']}{run}", "dim" if each["level"] < 2 else None
        )
        return
    about = " ".join(f"{name}={value}" for name, value in each.get("about", {}).items())
    text = f"{each['time']} {where} {each['kind']} by {each['subject']}: {each['result']} in "
    text += f"{each['seconds'] * 1000:.1f} ms{f' {about}' if about else ''}{run}"
    out.line(text, None if each["result"] == "ok" else "warning")


def _is_read() -> bool:
    """Whether somebody reads stdout: a pipe whose reader has gone would be noticed only with the next line."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return not any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):
        return True
