"""`mixkit db init, stats, flush, compact, check, repair`: looking after a database."""

from __future__ import annotations

from pathlib import Path

import click

from mix_db.cli.target import Target, database_option
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.cli.workspaces import agreed

__all__ = ["backup", "check", "compact", "flush", "init", "repair", "stats"]


@click.command()
@database_option
@json_option
@pass_session
def init(session: Session, target: Target) -> None:
    """Make an empty database. One that is there already stays as it is."""
    with target.open("create") as database:
        records = database.stats()["records"]
    Output(session.as_json).record({"database": str(target.folder), "records": records})


@click.command()
@database_option
@json_option
@pass_session
def stats(session: Session, target: Target) -> None:
    """Show how many records, versions, commits and bytes there are."""
    with target.open("read") as database:
        Output(session.as_json).record(database.stats())


@click.command()
@database_option
@json_option
@pass_session
def flush(session: Session, target: Target) -> None:
    """Move what was committed from the write log to the row files and the index. It also happens by itself."""
    out = Output(session.as_json)
    with target.open("write") as database, out.working("flushing"):
        database.flush()
        watermark = database.watermark()
    out.record({"watermark": watermark})


@click.command()
@click.option("--drop-history", is_flag=True, help="Drop replaced versions and tombstones for good.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@database_option
@json_option
@pass_session
def compact(session: Session, target: Target, drop_history: bool, yes: bool) -> None:
    """Rewrite the files without what nobody can read any more. Others may read and write meanwhile."""
    out = Output(session.as_json)
    with target.open("write") as database:
        before = database.stats()
        if drop_history:
            lost = before["versions"] - before["records"]
            agreed(f"Drop {lost} versions for good?", yes, out, f"it drops {lost} versions for good")
        with out.working("compacting"):
            database.compact(drop_history=drop_history)
        after = database.stats()
    out.record(
        {
            "versions": after["versions"],
            "dropped": before["versions"] - after["versions"],
            "size": after["size"],
            "size before": before["size"],
        }
    )


@click.command()
@click.argument("copy", metavar="FOLDER", type=click.Path(path_type=Path))
@database_option
@json_option
@pass_session
def backup(session: Session, target: Target, copy: Path) -> None:
    """Copy the database to a new FOLDER, history included. Others may read and write meanwhile."""
    out = Output(session.as_json)
    with target.open("read") as database, out.working(f"copying to {copy}"):
        watermark = database.backup(copy)
    out.record({"database": str(copy), "watermark": watermark})


@click.command()
@database_option
@json_option
@pass_session
def check(session: Session, target: Target) -> int:
    """Read everything and say what is damaged, and where. The status is 1 if something is.

    It works on a database that does not open, too, and on one that may only be read.
    """
    out = Output(session.as_json)
    findings, locked = _checked(out, target)
    remarks = [] if findings else _remarks(target)
    for remark in remarks:
        out.note(remark, "warning")
    if session.as_json:
        out.document({"ok": not findings, "findings": findings, "remarks": remarks, "locked": locked})
    elif findings:
        for finding in findings:
            out.line(finding, "error")
        out.note("save what is intact with: mixkit db repair", "warning")
    else:
        out.line("everything is as it was written", "ok")
    return 1 if findings else 0


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what is damaged; the status is 1 if something is.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@database_option
@json_option
@pass_session
def repair(session: Session, target: Target, dry_run: bool, yes: bool) -> int:
    """Save every intact row of a damaged database. The damaged files keep second names, nothing is deleted."""
    from mix_db.mending import repair_folder

    out = Output(session.as_json)
    findings, _ = _checked(out, target)
    if not out.as_json:
        for finding in findings:
            out.note(finding, "error")
    if dry_run or not findings:
        if out.as_json:
            out.document({"damaged": bool(findings), "repaired": False, "findings": findings})
        else:
            out.line("nothing was changed" if findings else "nothing is damaged")
        return 1 if findings else 0
    agreed("Write the database anew from what is intact?", yes, out, "it writes the database anew")
    with out.working(f"repairing {target.folder}"):
        report = repair_folder(target.folder)
    if out.as_json:
        out.document(
            {
                "damaged": True,
                "repaired": True,
                "findings": findings,
                "rows": report.rows,
                "lost": report.lost,
                "aside": list(report.aside),
            }
        )
    else:
        out.record(
            {"rows saved": report.rows, "rows lost": report.lost, "kept aside": ", ".join(report.aside)}
        )
    return 0


def _remarks(target: Target) -> list[str]:
    """What is to be known of a database in which nothing is damaged."""
    from mix_db.engine.moments import unreached

    with target.open("read") as database:
        return unreached(database.state())


def _checked(out: Output, target: Target) -> tuple[list[str], bool]:
    """What is damaged, and whether the write lock kept others from writing while it was looked for."""
    from mix_db.mending import check_folder

    with out.working(f"checking {target.folder}"):
        checked = check_folder(target.folder)
    if not checked.locked:
        out.note(
            "checked without the write lock, since the folder may only be read: what others write meanwhile "
            "can look like damage, and is gone when it is checked again",
            "warning",
        )
    return [str(finding) for finding in checked.findings], checked.locked
