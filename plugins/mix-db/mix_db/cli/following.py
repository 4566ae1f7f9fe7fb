"""`mixkit db tail`: commits as they happen."""

from __future__ import annotations

import sys

import click

from mix_db.cli.printing import line_of
from mix_db.cli.target import Target, database_option
from mixkit.cli.output import safe_json
from mixkit.cli.session import Session, json_option, pass_session

__all__ = ["tail"]

_WAIT = 1.0


@click.command()
@click.option(
    "--since", metavar="WATERMARK", help="Begin behind this commit; 0 is the first. By default now."
)
@click.option("--until-now", is_flag=True, help="End when all that is there has been printed.")
@database_option
@json_option
@pass_session
def tail(session: Session, target: Target, since: str | None, until_now: bool) -> None:
    """Print every version that is committed, tombstones too, as a line of tagged JSON, until it is interrupted.

    `_rmx_rev` of the last line is the watermark to go on from with --since.
    """
    terminal = sys.stdout.isatty()
    with target.open("read") as database:
        now = database.watermark()
        watermark = now if since is None else since.zfill(len(now)) if since.isdigit() else since
        # Refused here, where a query would find nothing.
        database.changed(watermark, 0)
        while True:
            with database.query(
                "after $watermark",
                {"watermark": watermark},
                deleted=True,
                superseded=True,
                timeout=float("inf"),
            ) as cursor:
                while rows := cursor.next():
                    text = "".join(f"{line_of(row)}\n" for row in rows)
                    sys.stdout.write(safe_json(text) if terminal else text)
                    sys.stdout.flush()
                watermark = cursor.watermark
            if until_now:
                return
            # In slices, because a signal is only noticed between two waits.
            while database.changed(watermark, _WAIT) is None:
                pass
