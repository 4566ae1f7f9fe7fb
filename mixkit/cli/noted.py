"""What commands do in a directory of workspaces, noted as what a server does is: who looks later finds both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import click

from mixkit.cli.session import Session

if TYPE_CHECKING:
    from mixkit.activities import Kind
    from mixkit.package import WorkspaceStore

__all__ = ["noted"]


@contextmanager
def noted(
    store: WorkspaceStore, kind: Kind, workspace: str | None, app: str | None = None
) -> Iterator[dict[str, Any]]:
    """What is done in the block is an activity of the operator, unless it fails.

    Yields:
        Its `about`, to be filled: names and numbers. What fails behind that was done in part, and is one that failed.

    Raises:
        StorageError: it was done, and cannot be noted.
    """
    from mixkit.activities import OPERATOR, Activities, Activity, Result, now
    from mixkit.kernel_settings import KernelSettings

    session = click.get_current_context().find_object(Session)
    assert session is not None
    activities = Activities(store, session.settings("kernel", KernelSettings))
    about: dict[str, Any] = {}
    moment, began = now(), time.perf_counter()
    result = Result.FAULT
    try:
        yield about
        result = Result.OK
    finally:
        if about or result is Result.OK:
            with closing(activities):
                activities.record(
                    Activity(
                        kind=kind,
                        subject=OPERATOR,
                        time=moment,
                        workspace=workspace,
                        app=app,
                        seconds=time.perf_counter() - began,
                        result=result,
                        about=about or None,
                    )
                )
