"""The page by which people look after an agent server, at `/admin/`. See docs/admin.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mixkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mixkit.contracts import Check

__all__ = ["PATH"]

PATH: Final = "/admin/"
"""Where the page is."""


@hookimpl
def mix_routes(app: Any, server: Any) -> None:
    from mix_admin.page import Elsewhere, Page, files

    page = Page(files())
    app.add_route(PATH.rstrip("/"), Elsewhere(PATH))
    app.add_route(PATH, page)
    app.add_route(f"{PATH}{{path:path}}", page)


@hookimpl
def mix_page() -> tuple[str, str]:
    return "administration", PATH


@hookimpl
def mix_doctor(kernel: Any) -> list[Check]:
    from mix_admin.doctor import checks

    return checks()
