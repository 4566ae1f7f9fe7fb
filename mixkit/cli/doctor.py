"""`mixkit doctor`: what is installed, what is really in force, and what is wrong."""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from mixkit.contracts import Check
    from mixkit.kernel import Kernel

__all__ = ["doctor", "kernel_checks"]


@click.command()
@click.option(
    "--code",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A Wasm module: say which engine of the profile runs it, and why.",
)
@json_option
@pass_session
def doctor(session: Session, code: tuple[Path, ...]) -> None:
    """Check this installation and say what is in force. Exit status 1 if a check finds an error."""
    out = Output(session.as_json)
    with out.working("checking"):
        found = list(_checks(session, code))
    if session.as_json:
        out.document(
            [{"name": c.name, "level": c.level, "message": c.message, "remedy": c.remedy} for c in found]
        )
    else:
        out.table(
            ("level", "check", "finding"),
            [(c.level, c.name, f"{c.message}{f'; {c.remedy}' if c.remedy else ''}") for c in found],
            styles={"ok": "ok", "warning": "warning", "error": "error"},
        )
    if any(check.level == "error" for check in found):
        click.get_current_context().exit(1)


def _checks(session: Session, code: tuple[Path, ...]) -> Iterator[Check]:
    from mixkit.contracts import Check
    from mixkit.errors import MixError

    yield Check("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield _codec()
    try:
        kernel = session.kernel()
    except MixError as exc:
        yield Check(
            "profile",
            "error",
            str(exc),
            "nothing else can be checked until the profile loads; see `mixkit plugins`",
        )
        return
    with kernel:
        plugins = ", ".join(kernel.profile.plugins) or "none"
        yield Check("profile", "ok", f"{kernel.profile.name}; plugins {plugins}; {len(kernel.ffis)} FFIs")
        yield from (_decision(kernel, path) for path in code)
        yield from kernel_checks(kernel)


def kernel_checks(kernel: Kernel) -> Iterator[Check]:
    """What is in force of a profile that has loaded: engines, limits, and what each plugin says."""
    yield from _engines(kernel)
    yield _limits(kernel)
    yield _idle(kernel)
    _place_keys(kernel)
    yield from _of_plugins(kernel)


def _codec() -> Check:
    from mixkit import codec
    from mixkit.contracts import Check

    if codec.implementation == "C":
        return Check("codec", "ok", "the C implementation")
    return Check(
        "codec",
        "warning",
        "the Python implementation, which is many times slower",
        "install a wheel of mixkit",
    )


def _engines(kernel: Kernel) -> Iterator[Check]:
    """Which engines run guests, and in which order they are asked."""
    from mixkit.contracts import Check
    from mixkit.errors import MixError
    from mixkit.outside import foreign

    choices = kernel.engines.choices
    if not choices:
        yield Check(
            "engine", "warning", "the profile has none: no guest can run", "name one in the profile's engines"
        )
        return
    try:
        made = kernel.engines.made()
    except MixError as exc:
        yield Check("engine", "error", str(exc), "reinstall the plugin of that engine")
        return
    for choice, engine in zip(choices, made, strict=True):
        try:
            with foreign(MixError):
                found = f"{engine.name} {engine.version}"
        except MixError as exc:
            yield Check("engine", "error", f"{choice.engine}: {exc}", "reinstall the plugin of that engine")
        else:
            last = "" if choice is choices[-1] else "; what it does not take goes to the next"
            yield Check("engine", "ok", f"{found}; {choice.reason}{last}")


def _decision(kernel: Kernel, path: Path) -> Check:
    """Which engine runs the module."""
    from mixkit.contracts import Check
    from mixkit.errors import MixError

    name = f"engine of {path.name}"
    try:
        engine, decision = kernel.engines.compile(path.read_bytes())
    except (MixError, OSError) as exc:
        return Check(name, "error", str(exc), "give it the path of a Wasm module that the profile can run")
    return Check(name, "ok", f"{engine.name}; {decision.reason}")


def _limits(kernel: Kernel) -> Check:
    from mixkit.contracts import Check
    from mixkit.limits import UNITS

    limits = ", ".join(f"{name} {getattr(kernel.limits, name)} {unit}" for name, unit in UNITS.items())
    return Check("limits", "ok", limits)


def _idle(kernel: Kernel) -> Check:
    """What instances that wait may take of what the system gives a process."""
    from mixkit.contracts import Check

    idle = kernel.programs.idle
    message = f"instances that wait take at most {idle.most_bytes} bytes and {idle.most_mappings} mappings"
    try:
        allowed = int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        return Check("idle instances", "ok", message)
    message += f" of the {allowed} that the system allows a process"
    if 2 * idle.most_mappings <= allowed:
        return Check("idle instances", "ok", message)
    return Check(
        "idle instances",
        "warning",
        message,
        "set settings.kernel.idle_mappings to half of that, or raise vm.max_map_count",
    )


def _place_keys(kernel: Kernel) -> None:
    """Let the master keys be those of the server's workspaces; plugins that use them say what is wrong with them."""
    from mixkit.cli.workspaces import served_dir
    from mixkit.errors import KeyRingError

    with contextlib.suppress(click.UsageError, KeyRingError):
        kernel.keep_keys(served_dir(kernel))


def _of_plugins(kernel: Kernel) -> Iterator[Check]:
    """Each plugin's own findings. One whose checks fail is a finding itself and hides no other's."""
    from mixkit.contracts import Check
    from mixkit.errors import MixError
    from mixkit.outside import foreign
    from mixkit.plugins import each

    for plugin, ask in each(kernel.manager, "mix_doctor"):
        try:
            with foreign(MixError):
                checks = [
                    Check(f"{plugin}: {check.name}", check.level, check.message, check.remedy)
                    for check in ask(kernel=kernel)
                ]
        except MixError as exc:
            yield Check(plugin, "error", f"its checks failed: {exc}", "tell its author")
            continue
        yield from checks
