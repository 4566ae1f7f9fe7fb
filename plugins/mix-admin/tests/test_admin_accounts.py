"""A user connects an account of an identity provider and disconnects it, in a real browser."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Faults, Open, Site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("admin")]

PROVIDER = Path(__file__).parents[2] / "mix-server" / "tests" / "identity_provider.py"
ACCOUNTS = "#/ws/crm/accounts"
USER = "amy@example.org"


@pytest.fixture
def idp(site: Site) -> Iterator[Any]:
    """The identity provider of the server's own tests, on loopback, at which everybody agrees at once."""
    spec = importlib.util.spec_from_file_location("identity_provider", PROVIDER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.IdentityProvider()
    get = made._get

    def agree(handler: Any) -> None:
        if not handler.path.startswith("/authorize?"):
            get(handler)
            return
        answer = made.consent(f"{made.url}{handler.path}")
        handler.send_response(302)
        handler.send_header("Location", f"{site.url}/v1/auth/crm/elsewhere/callback?{urlencode(answer)}")
        handler.end_headers()

    made._get = agree
    yield made
    made.stop()


def test_an_account_is_connected_and_disconnected(
    site: Site, open_page: Open, faults: Faults, idp: Any
) -> None:
    page = open_page(ACCOUNTS, user=USER)
    main = page.get_by_role("main")
    expect(main).to_contain_text("Who administers the workspace crm configures the providers")
    path = "/v1/ws/crm/auth-configs/elsewhere"
    with site.client() as client:
        client.put(path, json=idp.config()).raise_for_status()

    page.reload()
    row = page.get_by_role("row", name="elsewhere")
    expect(row).to_contain_text("not connected")
    row.get_by_role("link", name="Connect elsewhere").click()
    # Back where it began, and signed in as before.
    expect(page.get_by_role("heading", level=1)).to_have_text("Accounts of crm")
    expect(page.get_by_role("banner")).to_contain_text(USER)
    expect(row.get_by_role("link", name="Connect anew elsewhere")).to_be_visible()
    expect(row).to_contain_text("ada@example.org")
    row.get_by_role("button", name="Disconnect elsewhere").click()
    page.get_by_role("dialog").get_by_role("button", name="Disconnect").click()
    expect(row).to_contain_text("not connected")
    with site.client() as client:
        client.delete(path).raise_for_status()
    assert {fault.partition("?")[0] for fault in faults.found} <= {f"request to {idp.url}/authorize"}
    faults.found.clear()
