"""`mixkit db`: a database from the command line. Subcommands are imported when they are used."""

from __future__ import annotations

import click

from mixkit.cli.group import Group

__all__ = ["db"]


@click.group(cls=Group)
def db() -> None:
    """Make, fill, ask, follow and mend databases.

    The database is a folder, named by --db or MIXKIT_DB; or that of an installed app, named by --app, and --ws-dir.
    """


assert isinstance(db, Group)
for _name, _target, _help in (
    ("init", "upkeep:init", "Make an empty database."),
    ("import", "moving:import_files", "Put the records of files into the database."),
    ("export", "moving:export", "Write records to a file."),
    ("query", "asking:query", "Run a query and print its rows."),
    ("sql", "sql:sql", "Run SQL over the records and print its rows."),
    ("explain", "asking:explain", "Show how a query is run."),
    ("get", "records:get", "Print records by their ids."),
    ("put", "records:put", "Save records."),
    ("delete", "records:delete", "Delete records."),
    ("history", "records:history", "Show what became of a record, version by version."),
    ("tail", "following:tail", "Print versions as they are committed."),
    ("stats", "upkeep:stats", "Show how much there is."),
    ("flush", "upkeep:flush", "Move what was committed from the write log to the row files."),
    ("compact", "upkeep:compact", "Rewrite the files without what nobody can read any more."),
    ("backup", "upkeep:backup", "Copy the database while it is used."),
    ("check", "upkeep:check", "Read everything and say what is damaged."),
    ("repair", "upkeep:repair", "Save every intact row of a damaged database."),
):
    db.lazy(_name, f"mix_db.cli.{_target}", _help)
