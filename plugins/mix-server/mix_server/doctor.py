"""What `mixkit doctor` says of the server."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mix_server import auth
from mix_server.access.grant import resource_text
from mix_server.access.ingress import USER, SessionToken, account_of
from mix_server.access.role import Role
from mix_server.access.store import GrantStore
from mix_server.access.subject import ANONYMOUS
from mix_server.cors import Cors
from mix_server.folder import Folder, private_of
from mix_server.settings import MAX_WALL_TIME
from mix_server.tls import check_pair
from mixkit.contracts import Check
from mixkit.errors import MixError, ProfileError
from mixkit.package import WorkspaceStore

if TYPE_CHECKING:
    from mix_server.settings import ServerSettings
    from mixkit.kernel_settings import KernelSettings

__all__ = ["checks"]

_MAPPINGS = 5
"""That a guest which waits takes: two around its memory, its memory, its stack, and what lies before that."""
_SPARE = 5_000
"""Those of everything else."""
_INGRESS_PATIENCE = 90.0
"""Seconds without a byte after which Snowflake's ingress ends a connection."""


def checks(kernel: Any) -> list[Check]:
    """The server's settings, looked at without starting anything."""
    settings: ServerSettings = kernel.settings("server")
    return [
        _workspaces(settings),
        _authentication(settings),
        _time(kernel.limits.wall_time, settings),
        _tls(settings),
        _cors(settings),
        _folder(settings, kernel.settings("kernel")),
        _rate(settings),
        _waiting(settings, kernel.programs.idle.most_mappings),
        _kept(kernel.settings("kernel")),
        _grants(kernel, Path(settings.ws_dir)),
    ]


def _workspaces(settings: ServerSettings) -> Check:
    path = Path(settings.ws_dir)
    nearest = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return Check(
            "server workspaces",
            "error",
            f"{settings.ws_dir!r} is no directory that can be written, and none can be made there",
            "set settings.server.ws_dir to one",
        )
    return Check("server workspaces", "ok", f"{settings.ws_dir!r}")


def _authentication(settings: ServerSettings) -> Check:
    name = "server authentication"
    if settings.auth == "spcs":
        return _ingress(name, settings)
    if settings.no_auth:
        message = "off: everybody on this machine may do everything"
        return Check(name, "warning", message, "leave settings.server.no_auth away")
    try:
        if settings.token is not None:
            auth.OperatorToken(settings.token)
    except ProfileError as exc:
        return Check(name, "error", str(exc), "set a longer MIXKIT_SERVER_TOKEN")
    operator = (
        "by the token that is set"
        if settings.token is not None
        else "by a token that each start makes; set MIXKIT_SERVER_TOKEN to keep one"
    )
    users = "" if settings.jwks_url is None else f"; users by tokens for {settings.jwt_audience!r}"
    return Check(name, "ok", f"{operator}{users}; no header of an ingress is believed")


def _ingress(name: str, settings: ServerSettings) -> Check:
    try:
        account = account_of()
        SessionToken(settings.spcs_token_file).read()
    except ProfileError as exc:
        return Check(name, "error", str(exc), "start it as deploy/snowflake does, or with another profile")
    message = f"whom the ingress of the Snowflake account {account!r} says by {USER}; tokens of this server"
    return Check(name, "ok", message)


def _tls(settings: ServerSettings) -> Check:
    name = "server TLS"
    if settings.tls_certs is None and settings.tls_key is None:
        return Check(name, "ok", "none here; whatever is in front of the server has it")
    try:
        check_pair(settings.tls_certs, settings.tls_key)
    except ProfileError as exc:
        return Check(name, "error", str(exc), "let tls_certs and tls_key name the files of one certificate")
    from cryptography.x509 import load_pem_x509_certificates

    [first, *_] = load_pem_x509_certificates(Path(str(settings.tls_certs)).read_bytes())
    end = first.not_valid_after_utc
    if end <= datetime.now(UTC):
        return Check(name, "error", f"the certificate ended at {end:%Y-%m-%d %H:%M} UTC", "renew it")
    return Check(name, "ok", f"a certificate until {end:%Y-%m-%d}, read again when it is renewed")


def _folder(settings: ServerSettings, kernel: KernelSettings) -> Check:
    name = "server files"
    if settings.serve_files_from is None:
        return Check(name, "ok", "no folder of this machine is served")
    try:
        Folder(settings.serve_files_from, private_of(settings, kernel))
    except ProfileError as exc:
        return Check(name, "error", str(exc), "let settings.server.serve_files_from name a folder")
    return Check(
        name, "ok", f"everybody may read {settings.serve_files_from!r}, but for links and hidden files"
    )


def _cors(settings: ServerSettings) -> Check:
    name = "server origins"
    try:
        Cors(settings.cors_origins)
    except ProfileError as exc:
        return Check(name, "error", str(exc), "mend settings.server.cors_origins")
    if "*" in settings.cors_origins:
        message = "scripts of every web site may ask, with a token"
        return Check(name, "warning", message, "name the sites in settings.server.cors_origins")
    shown = ", ".join(settings.cors_origins)
    return Check(
        name, "ok", f"scripts of {shown} may ask" if shown else "no scripts of other web sites may ask"
    )


def _rate(settings: ServerSettings) -> Check:
    message = "no limit of requests for each caller; set settings.server.rate_limit for one"
    if settings.rate_limit:
        message = f"{settings.rate_limit:g} requests a second for each caller, {settings.rate_burst} at once"
    return Check("server rates", "ok", message)


def _kept(kept: KernelSettings) -> Check:
    """What is noted of what is done."""
    message = f"the newest {kept.activities} of each workspace, for {kept.activity_days:g} days"
    output = f"; of guests' output {kept.output_bytes} bytes, {kept.output_of_run} of a run"
    none = "; of guests' output nothing"
    return Check(
        "server activities", "ok", message + (output if kept.output_bytes and kept.output_of_run else none)
    )


def _grants(kernel: Any, ws_dir: Path) -> Check:
    """Who may do what, as far as it is for more than one."""
    name = "server grants"
    if not ws_dir.is_dir():
        return Check(name, "ok", "there are no workspaces yet")
    wide, count, names = [], 0, []
    try:
        store = WorkspaceStore(ws_dir, kernel.databases)
        kept = GrantStore(store)
        names = store.list()
        for workspace in names:
            grants = kept.of(workspace)
            count += len(grants)
            wide += [
                f"{each.role} of {resource_text(each.resource)} in {workspace}"
                for each in grants
                if each.subject == ANONYMOUS and each.role is not Role.RUNNER
            ]
    except MixError as exc:
        return Check(name, "error", str(exc), "nobody but the operator is let in where they cannot be read")
    message = f"{count} in {len(names)} workspaces; `mixkit perms list --ws WS` has them"
    if not wide:
        return Check(name, "ok", message)
    return Check(
        name,
        "warning",
        f"everybody, without a token, is {', '.join(wide[:5])}{', …' if len(wide) > 5 else ''}; {message}",
        "take it back with `mixkit perms revoke`, unless it is meant so",
    )


def _time(wall_time: float, settings: ServerSettings) -> Check:
    if settings.auth == "spcs" and wall_time > _INGRESS_PATIENCE:
        return Check(
            "server timeout",
            "warning",
            f"{wall_time:g} s a run; Snowflake's ingress gives an answer {_INGRESS_PATIENCE:g} s",
            f"set limits.wall_time to less than {_INGRESS_PATIENCE:g}",
        )
    if wall_time > MAX_WALL_TIME:
        return Check(
            "server timeout",
            "error",
            f"limits.wall_time is {wall_time:g} s; a request has at most {MAX_WALL_TIME:g} s",
            f"set limits.wall_time to {MAX_WALL_TIME:g} or less",
        )
    return Check("server timeout", "ok", f"{wall_time:g} s a run")


def _waiting(settings: ServerSettings, idle: int) -> Check:
    """Whether the system lets a process have so many guests: it refuses it any memory otherwise."""
    runs = settings.max_waiting_runs
    message = f"{runs} may wait at once"
    try:
        allowed = int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        return Check("server runs", "ok", message)
    wanted = runs * _MAPPINGS + idle + _SPARE
    message += f", with {wanted} mappings of the {allowed} that the system allows a process"
    if wanted <= allowed:
        return Check("server runs", "ok", message)
    remedy = f"set vm.max_map_count to {wanted} (sysctl), or settings.server.max_waiting_runs to less"
    return Check("server runs", "warning", message, remedy)
