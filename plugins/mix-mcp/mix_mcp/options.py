"""An option of commands of the bridge: which tools a client is shown."""

from __future__ import annotations

import click

__all__ = ["constant_option"]

constant_option = click.option(
    "--constant", is_flag=True, help="List two tools, which find and call all others."
)
