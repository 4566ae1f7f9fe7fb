"""`mixkit serve`."""

from __future__ import annotations

import json
from typing import Any

import click

from mixkit.cli import logs
from mixkit.cli.session import Session, pass_session

__all__ = ["serve"]

_ELSEWHERE = {
    "agent_timeout": "limits.wall_time",
    "memory_limit": "limits.memory",
    "agent_cache_size": "settings.kernel.programs",
    "dangerous_http_mode": "settings.http.dangerous_http_mode",
}
"""Options that are no settings of the server: what the kernel limits every run by, keeps, and lets agents reach."""


def _json_object(ctx: click.Context, param: click.Parameter, text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise click.BadParameter(f"expected a JSON object, found {text[:80]!r}: {exc}") from None
    if not isinstance(value, dict):
        raise click.BadParameter(f"expected a JSON object, found {text[:80]!r}")
    return value


@click.command()
@click.option("--ws-dir", metavar="DIR", help="Directory that holds the workspaces.")
@click.option("--host", metavar="ADDRESS", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.")
@click.option("--serve-files-from", metavar="DIR", help="Folder whose files everybody may read.")
@click.option("--tls-certs", metavar="FILE", help="Certificate and its chain, PEM; read again when renewed.")
@click.option("--tls-key", metavar="FILE", help="Private key of the certificate, PEM.")
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    default=None,
    metavar="ORIGIN",
    help="Whose scripts may ask, as https://app.example.org. Repeatable.",
)
@click.option("--workers", type=int, help="Processes that serve.")
@click.option("--token", metavar="TEXT", help="What callers must send; better in MIXKIT_SERVER_TOKEN.")
@click.option("--no-auth", is_flag=True, default=None, help="Ask for no token. Loopback addresses only.")
@click.option("--auth", metavar="KIND", help="Who says who asks: tokens, or spcs inside Snowflake.")
@click.option("--base-url", metavar="URL", help="Under which browsers know the server.")
@click.option("--jwks-url", metavar="URL", help="Keys of the identity provider, for tokens of users.")
@click.option("--jwt-audience", metavar="TEXT", help="What users' tokens must be for.")
@click.option("--jwt-issuer", metavar="TEXT", help="What users' tokens must be from.")
@click.option(
    "--server-key", metavar="PEM", help="Key that signs tokens; better in MIXKIT_SERVER_SERVER_KEY."
)
@click.option(
    "--workspace-creator",
    "workspace_creators",
    multiple=True,
    default=None,
    metavar="SUBJECT",
    help="Who may make workspaces, as all-users or domain/HOST. Repeatable.",
)
@click.option("--agent-timeout", type=float, metavar="SECONDS", help="Time of a run: limits.wall_time.")
@click.option("--memory-limit", type=int, metavar="BYTES", help="Memory of a run: limits.memory.")
@click.option("--agent-cache-size", type=int, help="Compiled programs kept: settings.kernel.programs.")
@click.option("--body-limit", type=int, metavar="BYTES", help="Size of a package or of records to save.")
@click.option("--file-limit", type=int, metavar="BYTES", help="Size of a file that is uploaded.")
@click.option("--uploads-limit", type=int, metavar="BYTES", help="Size of all uploads that have begun.")
@click.option("--params-limit", type=int, metavar="BYTES", help="Size of an agent's or a query's parameters.")
@click.option("--body-timeout", type=float, metavar="SECONDS", help="Time in which a body must arrive.")
@click.option("--rate-limit", type=float, help="Requests a second of each caller; 0 is without a limit.")
@click.option("--rate-burst", type=int, help="Requests that a caller may send at once, with --rate-limit.")
@click.option("--max-runs", type=int, help="Runs at once in each process.")
@click.option("--max-waiting", type=int, help="Runs that wait for a turn in each process.")
@click.option("--max-wait", type=float, metavar="SECONDS", help="Time that a run waits for a turn.")
@click.option("--caller-share", type=float, metavar="PART", help="Part that one caller may have, as 0.5.")
@click.option("--query-timeout", type=float, metavar="SECONDS", help="Time of a query.")
@click.option("--compile-timeout", type=float, metavar="SECONDS", help="Time of a compiler.")
@click.option("--remote-compile-server", metavar="URL", help="Server that compiles instead of this one.")
@click.option("--answer-limit", type=int, metavar="BYTES", help="Size of an answer from a database.")
@click.option("--max-streams", type=int, help="Streamed answers at once in each process.")
@click.option(
    "--stream-stall", type=float, metavar="SECONDS", help="Time in which a client must take a part."
)
@click.option(
    "--heartbeat", type=float, metavar="SECONDS", help="Time between signs of life of a stream of events."
)
@click.option(
    "--grace-period", type=float, metavar="SECONDS", help="Time that runs get when the server stops."
)
@click.option(
    "--postpone-timeout",
    type=float,
    metavar="SECONDS",
    help="Time for idle actions, after the answer is sent, and for runs that nobody waits for.",
)
@click.option("--env", callback=_json_object, metavar="JSON", help="Added to every agent's environment.")
@click.option("--access-log", is_flag=True, default=None, help="Log each request.")
@click.option(
    "--dangerous-http-mode",
    is_flag=True,
    default=None,
    help="Let agents use plain http and reach every address: settings.http.dangerous_http_mode.",
)
@click.option("--log-format", type=click.Choice(logs.FORMATS), help="As the option of mixkit itself.")
@pass_session
def serve(session: Session, /, log_format: str | None, **options: Any) -> None:
    """Serve agents over HTTP.

    Each option is also a setting of the profile, as settings.server.port, and a variable, as
    MIXKIT_SERVER_PORT. Without a token one is made and printed at each start.
    """
    from mix_server.start import start

    if log_format is not None:
        session.log_format = log_format
        logs.configure(session.log_level, log_format)
    given = {
        _ELSEWHERE.get(name, f"settings.server.{name}"): value
        for name, value in options.items()
        if value not in (None, ())
    }
    session.overrides = {**session.overrides, **given}
    start(session)
