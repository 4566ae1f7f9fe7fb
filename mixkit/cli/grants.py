"""Grants on the command line: what in them means nothing here is said, or refused where it was typed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mixkit.cli.output import Output
    from mixkit.cli.session import Session
    from mixkit.grants import Grants
    from mixkit.kernel import Kernel

__all__ = ["check_grants", "say_unknown", "typed_grants"]


def typed_grants(kernel: Kernel, patterns: Iterable[str], requested: Grants | None) -> Grants:
    """What `--grant` gives.

    Raises:
        BadParameter: a pattern allows no FFI of the profile, and nothing that the code asks for.
    """
    from mixkit.grants import Grants, overlap

    granted = Grants(patterns)
    asked = [] if requested is None else [pattern for layer in requested.patterns() for pattern in layer]
    for pattern in sorted(set(patterns)):
        problems = kernel.ffis.unknown_grants(Grants([pattern]))
        if problems and not any(overlap(pattern, other) for other in asked):
            raise click.BadParameter(problems[0], param_hint="--grant")
    return granted


def check_grants(
    session: Session, requested: Grants | None, out: Output, others: Iterable[str] = ()
) -> list[str]:
    """`say_unknown` for commands that need no profile otherwise: one that does not load is a warning too.

    `others` are warnings that are said before.
    """
    from mixkit.errors import MixError

    if requested is None or not (any(requested.patterns()) or requested.option_keys()):
        return _said([*others], out)
    try:
        unknown = session.assembly().ffis.unknown_grants(requested)
    except MixError as exc:
        unknown = [f"grants were not looked at, because the profile does not load: {exc}"]
    return _said([*others, *unknown], out)


def say_unknown(kernel: Kernel, requested: Grants | None, out: Output) -> list[str]:
    """Warn of what code asks for and the profile does not have.

    Returns:
        The warnings; for `--json` they belong into the document.
    """
    return _said([] if requested is None else kernel.ffis.unknown_grants(requested), out)


def _said(warnings: list[str], out: Output) -> list[str]:
    if not out.as_json:
        for warning in warnings:
            out.note(f"warning: {warning}", "warning")
    return warnings
