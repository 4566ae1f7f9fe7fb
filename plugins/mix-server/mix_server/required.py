"""What the operator says must be in force: the server does not start without it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from mixkit.errors import ProfileError
from mixkit.near import meant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixkit.kernel import Kernel

__all__ = ["check_required"]

_KEY = "settings.server.required"


def check_required(kernel: Kernel, required: Sequence[str]) -> None:
    """Refuse to start unless each of these checks of `mixkit doctor` is ok.

    Raises:
        ProfileError: one is not, or there is none of that name; says which and why.
    """
    if not required:
        return
    found = _checked(kernel)
    for name in required:
        check = found.get(name)
        if check is None:
            raise ProfileError(
                f"expected names of checks of `mixkit doctor`, found {name!r:.80}{meant(name, found)}",
                _KEY,
            )
        level, message, remedy = check
        if level != "ok":
            more = f"; {remedy}" if remedy else ""
            raise ProfileError(f"{name!r} has to be in force, and is not: {message}{more}", _KEY)


def _checked(kernel: Kernel) -> dict[str, list[str]]:
    """Level, message and remedy of each check, by name."""
    # NOTE: in a process of their own. They compile, and a process that has done so must not fork workers.
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            from mixkit.cli.doctor import kernel_checks

            checks = {
                check.name: [check.level, check.message, check.remedy] for check in kernel_checks(kernel)
            }
            with open(writer, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(json.dumps(checks).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as file:  # noqa: PTH123 - a descriptor
        text = file.read()
    if os.waitpid(child, 0)[1]:
        raise ProfileError("what is in force cannot be found out; `mixkit doctor` says more", _KEY)
    found: dict[str, list[str]] = json.loads(text)
    return found
