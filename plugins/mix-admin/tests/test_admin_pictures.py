"""The pictures of docs/admin.md can be taken, and are there and small. With RENEW_PICTURES=1 they are taken anew."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from conftest import Open

DOCS = Path(__file__).parents[3] / "docs"
MOST = 100_000
PNG = b"\x89PNG\r\n\x1a\n"


def take(page: Page, path: Path, height: int) -> None:
    page.set_viewport_size({"width": 1000, "height": height})
    page.evaluate("scrollTo(0, 0)")
    page.locator("h1").focus()
    page.screenshot(path=path)


def test_the_pictures_are_there_and_small() -> None:
    named = re.findall(r"!\[[^\]]{20,}\]\((pictures/[a-z-]+\.png)\)", (DOCS / "admin.md").read_text())
    assert len(named) == len(set(named)) == 4
    assert {f"pictures/{path.name}" for path in (DOCS / "pictures").glob("admin-*")} == set(named)
    for name in named:
        data = (DOCS / name).read_bytes()
        assert data.startswith(PNG) and len(data) < MOST, name


@pytest.mark.slow
@pytest.mark.xdist_group("admin")
def test_pictures_are_taken(open_page: Open, package: Any, tmp_path: Path) -> None:
    folder = DOCS / "pictures" if os.environ.get("RENEW_PICTURES") else tmp_path
    contacts = "#/ws/crm/app/contacts"

    page = open_page(f"{contacts}/agent/welcome", viewport={"width": 1000, "height": 760})
    page.get_by_label("name", exact=True).fill("Ada")
    page.get_by_label("visits", exact=True).fill("3")
    page.get_by_label("formal", exact=True).check()
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_label("Answer", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Last runs")).to_be_visible()
    take(page, folder / "admin-agent.png", 1060)

    page.goto(page.url.partition("#")[0] + f"{contacts}/records")
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    page.get_by_label("Query", exact=True).fill('"entity" == "person" and .age >= $age | orderAsc(name)')
    page.get_by_label("Parameters", exact=True).fill('{"age": 40}')
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("region", name="Rows").get_by_role("row")).to_have_count(4)
    take(page, folder / "admin-records.png", 660)

    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto(page.url.partition("#")[0] + "#/ws/crm/permissions")
    explain = page.get_by_role("form", name="Effective access")
    explain.get_by_label("Who").fill("user/grace@example.org")
    explain.get_by_label("On").select_option("agent/contacts/welcome")
    explain.get_by_role("button").click()
    expect(page.get_by_role("main").get_by_text("Yes:")).to_be_visible()
    take(page, folder / "admin-permissions.png", 960)

    page.goto(page.url.partition("#")[0] + "#/ws/crm/install")
    made = package("1.1.0", grants={"ffis": ["$core_*", "$db_*", "$http_do"]}, limits={"wall_time": 5})
    page.get_by_label("Package", exact=True).set_input_files(
        {"name": "contacts-1.1.0.remix", "mimeType": "application/octet-stream", "buffer": made}
    )
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("button", name="Install", exact=True)).to_be_visible()
    take(page, folder / "admin-install.png", 1090)

    for path in folder.glob("admin-*.png"):
        assert path.read_bytes().startswith(PNG) and path.stat().st_size < MOST, path
