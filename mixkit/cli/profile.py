"""`mixkit profile`: which profiles there are, and what one of them comes to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mixkit.cli.completing import complete_profile
from mixkit.cli.group import Group
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.setting_values import is_secret

if TYPE_CHECKING:
    from mixkit.assembly import Assembly

__all__ = ["profile"]

HIDDEN = "(not shown)"
SIMPLE = ("description", "plugins", "engines", "filesystem", "storage")


@click.group(cls=Group)
def profile() -> None:
    """List and show profiles."""


@profile.command("list")
@json_option
@pass_session
def list_profiles(session: Session) -> None:
    """List the profiles that can be named, with their files."""
    from mixkit.errors import ProfileError
    from mixkit.profile import load_profile, profile_names

    rows = []
    for name, path in profile_names().items():
        try:
            about = load_profile(path).description
        except ProfileError as exc:
            about = f"broken: {exc}"
        rows.append((name, str(path), about))
    Output(session.as_json).table(("name", "file", "description"), rows)


@profile.command()
@click.argument("name", required=False, shell_complete=complete_profile)
@json_option
@pass_session
def show(session: Session, name: str | None) -> None:
    """Show what a profile comes to: every value, with where it comes from."""
    if name:
        session.profile = name
    rows = [*_of_project(session), *_values(session.assembly())]
    Output(session.as_json).table(("key", "value", "origin"), rows, styles={"default": "dim"})


@profile.command()
@click.argument("name", required=False, shell_complete=complete_profile)
@json_option
@pass_session
def path(session: Session, name: str | None) -> None:
    """Print the file of a profile."""
    from mixkit.profile import profile_path

    found = str(Path(profile_path(name or session.profile)).resolve())
    if session.as_json:
        Output().document({"path": found})
    else:
        click.echo(found)


def _of_project(session: Session) -> list[tuple[str, str, str]]:
    """What a mixkit.toml says beside values of the profile."""
    project = session.project
    said = {"profile": session.profile, "workspace": project.workspace, "server": project.server}
    # It may be the command line that names the profile, or the environment.
    ours = project.profile is not None and project.profile == session.profile
    return [
        (key, value, project.origin(key))
        for key, value in said.items()
        if value is not None and (key != "profile" or ours)
    ]


def _values(assembly: Assembly) -> list[tuple[str, Any, str]]:
    rows: list[tuple[str, Any, str]] = []
    for key in SIMPLE:
        value = getattr(assembly.profile, key)
        value = list(value) if isinstance(value, tuple) else value
        rows.append((key, value, assembly.profile.origins.get(key, "default")))
    for key, origin in assembly.origins.items():
        section, _, field = key.rpartition(".")
        holder = (
            assembly.limits if section == "limits" else assembly.settings(section.removeprefix("settings."))
        )
        value = getattr(holder, field)
        rows.append((key, HIDDEN if value and is_secret(field) else value, origin))
    return rows
