"""Providers, exports, imports and packages at a URL, in a real browser."""

from __future__ import annotations

import io
import json
import zipfile
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Open, Site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("admin")]

CRM = "#/ws/crm"
SECRET = "a-secret-of-a-client"
AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
RUN_AXE = """async () => (await axe.run(document)).violations.map(
  ({ id, nodes }) => `${id}: ${nodes.map((each) => `${each.html} ${each.failureSummary}`).join("; ")}`)"""
REMIX = {"name": "crm.remix", "mimeType": "application/octet-stream"}


def answer(page: Page, button: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=button).click()


def check(page: Page) -> None:
    """axe-core finds nothing in what is shown, opened, in the light and in the dark."""
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        assert page.evaluate(RUN_AXE) == [], scheme


def exported(page: Page) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("link", name="Export", exact=True).last.click()
    return bytes(download.value.path().read_bytes())


def records(data: bytes) -> list[dict[str, Any]]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return [json.loads(line) for line in file.read("records/kept.ndjson").splitlines()]


@pytest.fixture(scope="module")
def depot(site: Site) -> Iterator[str]:
    """A workspace whose app `kept` has a record of two versions and a grant; what is made beside it is deleted."""
    with site.client() as client:
        client.post("/v1/ws", json={"name": "depot"}).raise_for_status()
        client.put("/v1/ws/depot/app/kept").raise_for_status()
        documents = "/v1/ws/depot/app/kept/documents"
        made = client.post(documents, json={"name": "first"}).raise_for_status().json()
        id = made["_rmx_id"]["_rmx_value"]
        client.patch(f"{documents}/{id}", json={"name": "second"}).raise_for_status()
        grant = {"subject": "user/ada@example.org", "role": "runner", "resource": "db/kept"}
        client.post("/v1/ws/depot/permissions", json=grant).raise_for_status()
        yield "depot"
        for name in client.get("/v1/ws").json()["workspaces"]:
            if name.startswith("depot"):
                client.delete(f"/v1/ws/{name}").raise_for_status()


def test_a_provider_is_configured_changed_and_removed(site: Site, open_page: Open) -> None:
    """Its secret goes in, and is in nothing that comes to the page then."""
    page = open_page(f"{CRM}/providers")
    main = page.get_by_role("main")
    bodies: list[str] = []
    page.on("response", lambda got: bodies.append(got.text()) if "auth-configs" in got.url else None)
    expect(main).to_contain_text("No provider is configured here")
    page.get_by_text("Configure a provider", exact=True).first.click()
    form = page.get_by_role("form", name="Configure a provider")
    form.get_by_role("button").click()
    expect(form.get_by_role("alert")).to_contain_text("Write one of at most 63 letters")
    expect(form.get_by_label("Name", exact=True)).to_be_focused()
    form.get_by_label("Name", exact=True).fill("accounts")
    expect(form).to_contain_text(f"{site.url}/v1/auth/crm/accounts/callback")
    form.get_by_label("Client id").fill("mixkit")
    form.get_by_label("Client secret").fill(SECRET)
    # What the server refuses is said beside the form, and what was typed stays.
    form.get_by_role("button").click()
    expect(form.get_by_role("alert")).to_contain_text("expected issuer")
    form.get_by_label("Issuer").fill("https://accounts.example.com")
    form.get_by_text("What else is sent").click()
    form.get_by_label("authorization endpoint besides").fill('{"access_type": "offline"}')
    form.get_by_label("Where the email is").fill("profile.mail")
    form.get_by_role("button").click()
    row = page.get_by_role("row", name="accounts")
    expect(row).to_contain_text("https://accounts.example.com")
    expect(row).to_contain_text("kept")
    row.get_by_role("link", name="accounts").click()
    form = page.get_by_role("form", name="Configure accounts")
    expect(form.get_by_label("Client secret")).to_have_value("")
    expect(form.get_by_label("Scopes")).to_have_value("openid email")
    page.evaluate(AXE)
    check(page)
    # A secret is not sent to somebody else; with the same client it stays.
    form.get_by_label("Client id").fill("another")
    form.get_by_role("button").click()
    expect(form.get_by_role("alert")).to_contain_text("expected client_secret")
    form.get_by_label("Client id").fill("mixkit")
    form.get_by_label("Scopes").fill("openid  email profile")
    form.get_by_role("button").click()
    expect(row).to_contain_text("kept")
    with site.client() as client:
        kept = client.get("/v1/ws/crm/auth-configs/accounts").json()
        assert kept == {
            "name": "accounts", "kind": "oidc", "issuer": "https://accounts.example.com", "client_id": "mixkit",
            "scopes": ["openid", "email", "profile"], "has_secret": True,
            "authorization_parameters": {"access_type": "offline"},
            "userinfo": {"subject": "sub", "email": "profile.mail", "name": "name"},
        }  # fmt: skip
    # Nobody puts another one in its place by its name.
    page.get_by_text("Configure a provider", exact=True).first.click()
    form = page.get_by_role("form", name="Configure a provider")
    form.get_by_label("Name", exact=True).fill("accounts")
    form.get_by_role("button").click()
    expect(form.get_by_role("alert")).to_contain_text("There is one of that name")
    page.get_by_role("button", name="Remove accounts").click()
    answer(page, "Remove the provider")
    expect(main).to_contain_text("No provider is configured here")
    page.evaluate("place => { location.hash = place; }", f"{CRM}/providers?name=accounts")
    expect(main).to_contain_text("There is no such provider")
    assert len(bodies) >= 4
    assert SECRET not in "".join(bodies) + page.content()


def test_an_export_has_what_is_wanted(open_page: Open, depot: str) -> None:
    page = open_page(f"#/ws/{depot}/export")
    assert [each["name"] for each in records(exported(page))] == ["second"]
    page.get_by_label("With all versions").check()
    page.get_by_label("With what was granted").uncheck()
    data = exported(page)
    assert [each["name"] for each in records(data)] == ["first", "second"]
    assert b"ada@example.org" not in data
    page.evaluate("place => { location.hash = place; }", f"#/ws/{depot}/app/kept/export")
    expect(page.get_by_role("heading", level=1)).to_have_text("Export of kept")
    with zipfile.ZipFile(io.BytesIO(exported(page))) as file:
        assert json.loads(file.read("manifest.json"))["kind"] == "app"


def test_an_export_is_looked_at_and_imported(site: Site, open_page: Open, depot: str) -> None:
    with site.client() as client:
        data = client.get(f"/v1/ws/{depot}/export").content
        app = client.get(f"/v1/ws/{depot}/app/kept/export").content
    page = open_page()
    main = page.get_by_role("main")
    page.get_by_role("link", name="import one").click()
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose a .remix file")
    page.get_by_label("Export", exact=True).set_input_files({**REMIX, "buffer": data})
    page.get_by_label("With what was granted to users there").uncheck()
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("heading", name=f"The workspace {depot}")).to_be_visible()
    expect(page.get_by_role("row", name="kept")).to_contain_text("call nothing")
    importing = page.get_by_role("form", name="Import it")
    importing.get_by_role("button").click()
    expect(importing.get_by_role("alert")).to_contain_text("(409)")
    page.evaluate(AXE)
    check(page)
    importing.get_by_label("Name of the workspace").fill(f"{depot}-2")
    importing.get_by_role("button").click()
    expect(page.locator(".notice.good")).to_be_focused()
    expect(main).to_contain_text("1 record and 0 files have come")
    main.get_by_role("link", name=f"{depot}-2").click()
    expect(page.get_by_role("link", name="kept", exact=True)).to_be_visible()
    with site.client() as client:
        assert client.get(f"/v1/ws/{depot}-2/permissions").json()["permissions"] == []
        client.delete(f"/v1/ws/{depot}-2/app/kept").raise_for_status()
    # An app comes into the workspace that is there.
    page.evaluate("place => { location.hash = place; }", f"#/ws/{depot}-2/import")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Import of {depot}-2")
    page.get_by_label("Export", exact=True).set_input_files({**REMIX, "buffer": app})
    page.get_by_role("button", name="Look at it").click()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(main).to_contain_text("1 record and 0 files have come")


def test_an_export_comes_from_a_server(site: Site, open_page: Open, depot: str, token: str) -> None:
    """What a server exports is made anew each time: only who says so takes another file than the one that was seen."""
    page = open_page("#/import")
    page.get_by_label("From", exact=True).select_option("url")
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("alert")).to_contain_text("Write where it is")
    page.get_by_label("URL", exact=True).fill(f"{site.url}/v1/ws/{depot}/export")
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("alert")).to_contain_text("(424)")
    page.get_by_label("Token for it").fill(token)
    page.get_by_role("button", name="Look at it").click()
    importing = page.get_by_role("form", name="Import it")
    importing.get_by_label("Name of the workspace").fill(f"{depot}-3")
    importing.get_by_role("button").click()
    expect(importing.get_by_role("alert")).to_contain_text("nothing was changed")
    importing.get_by_label("Only if that is the very file").uncheck()
    importing.get_by_role("button").click()
    expect(page.get_by_role("main")).to_contain_text("1 record and 0 files have come")


def test_an_export_is_sent_to_a_server(site: Site, open_page: Open, depot: str, token: str) -> None:
    page = open_page(f"#/ws/{depot}/export")
    page.get_by_text("Send it to another server").first.click()
    sending = page.get_by_role("form", name="Send it to another server")
    sending.get_by_role("button").click()
    expect(sending.get_by_role("alert")).to_contain_text("Write where it is to go")
    sending.get_by_label("URL").fill(f"{site.url}/v1/ws-import?ws={depot}-4")
    sending.get_by_label("Token for it").fill(token)
    sending.get_by_role("button").click()
    expect(page.get_by_label("What the other server answers")).to_contain_text(f"{depot}-4")
    page.evaluate(AXE)
    check(page)
    expect(sending.get_by_label("Token for it")).to_have_value("")


def test_a_package_at_a_url_is_the_one_that_was_looked_at(
    site: Site, open_page: Open, depot: str, token: str, package: Any
) -> None:
    path = f"/v1/ws/{depot}/app/kept/file-manager/content"
    asked: list[dict[str, Any]] = []

    def store(version: str) -> None:
        with site.client() as client:
            given = {"path": "/contacts.remix", "force": "true"}
            client.put(path, params=given, content=package(version)).raise_for_status()

    store("1.0.0")
    page = open_page(f"#/ws/{depot}/install")
    page.on(
        "request",
        lambda sent: asked.append(sent.post_data_json) if sent.url.endswith("/install") else None,
    )
    page.get_by_label("From", exact=True).select_option("url")
    page.get_by_label("URL", exact=True).fill(f"{site.url}{path}?path=/contacts.remix")
    page.get_by_label("Token for it").fill(token)
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("heading", name="Version 1.0.0 of contacts")).to_be_visible()
    expect(page.locator(".plus", has_text="$core_*")).to_be_visible()
    # Somebody puts another one there.
    store("2.0.0")
    installing = page.get_by_role("form", name="Install the package")
    installing.get_by_role("button").click()
    expect(installing.get_by_role("alert")).to_contain_text("nothing was changed")
    assert [each.get("dry_run") for each in asked] == [True, None]
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("heading", name="Version 2.0.0 of contacts")).to_be_visible()
    seen = installing.locator("code").text_content()
    installing.get_by_role("button").click()
    expect(page.get_by_role("main")).to_contain_text("Version 2.0.0 is installed")
    assert asked[-1]["sha256"] == seen
    # A URL that is changed is another package, which nobody has looked at.
    page.get_by_label("URL", exact=True).fill(f"{site.url}/nothing")
    expect(page.locator(".notice.good")).to_have_count(0)
