"""Each view of the page does what it is for, in a real browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from conftest import Faults, Open, Site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("admin")]

CRM = "#/ws/crm"
CONTACTS = f"{CRM}/app/contacts"
MOST_BYTES, MOST_REQUESTS = 300_000, 10


def said(page: Page, text: str) -> None:
    """Wait until that is said to who listens."""
    expect(page.locator("#said")).to_contain_text(text)


def test_signing_in_and_out(site: Site, open_page: Open, token: str) -> None:
    page = open_page(CRM, signed_in=False)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Paste a token")
    page.get_by_label("Token", exact=True).fill("not-the-token-of-anybody")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not good")
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_label("Token", exact=True).press("Enter")
    # Where it was wanted to go, and no script can read what it is signed in by.
    expect(page.get_by_role("heading", level=1)).to_have_text("crm")
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("JSON.stringify([localStorage, sessionStorage])") == "[{},{}]"
    expect(page.get_by_role("banner")).to_contain_text("operator")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_the_first_load_is_small(site: Site, open_page: Open, faults: Faults) -> None:
    page = open_page("", signed_in=True, viewport={"width": 1100, "height": 760})
    expect(page.get_by_role("link", name="crm")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert len(faults.requests) <= MOST_REQUESTS, faults.requests
    sizes = page.evaluate(
        "performance.getEntries().filter((each) => 'transferSize' in each)"
        ".map((each) => [each.name, each.transferSize])"
    )
    assert len(sizes) >= 5
    assert sum(size for _, size in sizes) <= MOST_BYTES, sizes


def test_workspaces_are_made_and_deleted(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("Name", exact=True).fill("shop")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("shop")
    expect(page.get_by_role("main")).to_contain_text("No app is installed here")
    page.get_by_text("Make an empty app").click()
    page.get_by_label("Name", exact=True).fill("till")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("till")
    expect(page.get_by_role("main")).to_contain_text("no agents")
    page.get_by_role("navigation", name="Where you are").get_by_role("link", name="shop").click()
    page.get_by_role("button", name="Delete this workspace").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Delete the workspace").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Write shop")
    dialog.get_by_role("textbox").fill("shop")
    dialog.get_by_role("button", name="Delete the workspace").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Workspaces")
    expect(page.get_by_role("main")).not_to_contain_text("shop")


def test_an_agent_is_run_by_a_form_of_its_schema(open_page: Open) -> None:
    page = open_page(CONTACTS)
    page.get_by_role("link", name="welcome").click()
    expect(page.get_by_role("main")).to_contain_text("Writes a welcome")
    page.get_by_label("name", exact=True).fill("Ada\n& Bob")
    page.get_by_label("visits", exact=True).fill("many")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("expected a whole number")
    expect(page.get_by_label("visits", exact=True)).to_be_focused()
    # More than a number of JavaScript holds.
    page.get_by_label("visits", exact=True).fill("9007199254740993")
    page.get_by_label("discount", exact=True).fill("2.0")
    page.get_by_label("formal", exact=True).check()
    page.get_by_label("tone", exact=True).select_option("warm")
    page.get_by_role("button", name="Add one to tags").click()
    page.get_by_label("tags 1", exact=True).fill("new")
    page.get_by_role("button", name="Add one to tags").click()
    page.get_by_role("button", name="Remove tags 2").click()
    page.get_by_label("Give address", exact=True).check()
    page.get_by_label("street", exact=True).fill("12 Fitzroy Square")
    page.get_by_label("city", exact=True).fill("London")
    page.get_by_role("button", name="Run").click()
    text = page.get_by_label("Answer", exact=True).text_content() or ""
    assert "9007199254740993" in text and "2.0" in text
    assert json.loads(text) == {
        "name": "Ada\n& Bob", "visits": 9007199254740993, "discount": 2.0, "formal": True, "tone": "warm",
        "tags": ["new"], "address": {"street": "12 Fitzroy Square", "city": "London"},
    }  # fmt: skip
    page.get_by_role("button", name="Write JSON instead").click()
    given = page.get_by_label("Parameters as JSON", exact=True)
    assert json.loads(given.input_value())["visits"] == 9007199254740993
    given.fill('{"name": "B", "visits": 1.5, "formal": false}')
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("(400)")


def test_what_an_agent_fails_with_is_shown(open_page: Open) -> None:
    page = open_page(f"{CONTACTS}/agent/break")
    expect(page.get_by_role("main")).to_contain_text("It takes no parameters")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("main")).to_contain_text("no such <b>customer</b>")
    said(page, "The agent failed")


def test_records_are_asked_for(open_page: Open) -> None:
    page = open_page(f"{CONTACTS}/records")
    rows = page.get_by_role("region", name="Rows").get_by_role("row")
    expect(rows).to_have_count(5)
    page.get_by_label("Query", exact=True).fill(".age >= $age | orderDesc(age)")
    page.get_by_label("Parameters", exact=True).fill('{"age": 80}')
    page.get_by_role("button", name="Run").click()
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("Katherine Johnson")
    # It is in the address: whoever gets it sees the same.
    page.reload()
    expect(rows).to_have_count(3)
    page.get_by_label("Query", exact=True).fill(".age >=")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("(400)")
    expect(page.get_by_label("Query", exact=True)).to_be_focused()
    page.get_by_label("Query", exact=True).fill("true | count()")
    page.get_by_label("Parameters", exact=True).fill("{")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("expected JSON")


def test_a_record_is_changed_and_has_a_history(site: Site, open_page: Open) -> None:
    page = open_page(f"{CONTACTS}/records/new")
    page.get_by_label("Record", exact=True).fill('{"entity": "note", "n": 9007199254740993, "text": "first"}')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("main")).to_contain_text("9007199254740993")
    path = page.url.partition("records/")[2]
    page.get_by_text("Change", exact=True).click()
    text = page.get_by_label("Record", exact=True)
    assert "9007199254740993" in text.input_value()
    text.fill(text.input_value().replace("first", "second"))
    page.get_by_role("button", name="Save").click()
    expect(page.locator("ins", has_text="second")).to_be_visible()
    expect(page.locator("del", has_text="first")).to_be_visible()
    # Somebody else is quicker.
    page.get_by_text("Change", exact=True).click()
    with site.client() as client:
        client.patch(f"/v1/ws/crm/app/contacts/documents/{path}", json={"text": "third"}).raise_for_status()
    page.get_by_label("Record", exact=True).fill('{"text": "lost"}')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Somebody has changed it")
    page.reload()
    expect(page.get_by_role("main")).to_contain_text("third")
    page.get_by_role("button", name="Delete this record").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete the record").click()
    expect(page.get_by_role("main")).to_contain_text("was deleted")
    expect(page.locator("del", has_text="third")).to_be_visible()


def test_rows_are_followed(site: Site, open_page: Open) -> None:
    page = open_page(f"{CONTACTS}/records?{'query=entity+%3D%3D+%22guest%22'}")
    page.get_by_role("button", name="Follow").click()
    expect(page.get_by_role("main")).to_contain_text("No rows yet")
    path = "/v1/ws/crm/app/contacts/documents"
    with site.client() as client:
        id = client.post(path, json={"entity": "guest", "name": "Emmy"}).json()["_rmx_id"]["_rmx_value"]
        expect(page.get_by_role("cell", name="Emmy")).to_be_visible()
        link = page.get_by_role("region", name="Rows").get_by_role("link")
        link.focus()
        client.patch(f"{path}/{id}", json={"name": "Emmy Noether"}).raise_for_status()
        expect(page.get_by_role("cell", name="Emmy Noether")).to_be_visible()
        # Who is in the table with the keyboard stays there.
        expect(link).to_be_focused()
        client.delete(f"{path}/{id}").raise_for_status()
        expect(page.get_by_role("main")).to_contain_text("No rows yet")
    page.get_by_role("button", name="Follow").click()
    expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "false")


def test_a_query_that_cannot_be_followed_says_so(open_page: Open) -> None:
    page = open_page(f"{CONTACTS}/records")
    page.get_by_label("Query", exact=True).fill("true | count()")
    page.get_by_role("button", name="Follow").click()
    expect(page.get_by_role("main")).to_contain_text("cannot be followed")


def test_grants_are_given_explained_and_taken_back(open_page: Open) -> None:
    page = open_page(f"{CRM}/permissions")
    explain = page.get_by_role("form", name="Effective access")
    explain.get_by_label("Who", exact=True).fill("user/bob@elsewhere.org")
    explain.get_by_label("Wants to", exact=True).select_option("run")
    explain.get_by_label("On", exact=True).select_option("agent/contacts/welcome")
    explain.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("main")).to_contain_text(
        "No: user/bob@elsewhere.org may not run agent/contacts/welcome"
    )
    grant = page.get_by_role("form", name="Grant")
    grant.get_by_role("button", name="Grant").click()
    expect(grant.get_by_role("alert")).to_contain_text("Write who")
    grant.get_by_label("Who", exact=True).fill("user/bob@elsewhere.org")
    grant.get_by_label("On", exact=True).select_option("db/contacts")
    grant.get_by_role("button", name="Grant").click()
    expect(page.get_by_role("row", name="user/bob@elsewhere.org")).to_be_visible()
    explain.get_by_label("Who", exact=True).fill("user/bob@elsewhere.org")
    explain.get_by_label("On", exact=True).select_option("agent/contacts/welcome")
    explain.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("main")).to_contain_text("user/bob@elsewhere.org is runner on db/contacts")
    page.get_by_role("button", name="Take back runner on db/contacts from user/bob@elsewhere.org").click()
    page.get_by_role("dialog").get_by_role("button", name="Take it back").click()
    expect(page.get_by_role("row", name="user/bob@elsewhere.org")).to_have_count(0)


def test_a_machine_gets_a_token(site: Site, open_page: Open) -> None:
    import httpx

    page = open_page(f"{CRM}/tokens")
    form = page.get_by_role("form", name="Make a token")
    form.get_by_label("Name", exact=True).fill("nightly")
    form.get_by_role("button").click()
    token = page.get_by_label("The token", exact=True).text_content() or ""
    headers = {"Authorization": f"Bearer {token}"}
    agent = f"{site.url}/v1/ws/crm/app/contacts/agent/welcome"
    assert httpx.get(agent, headers=headers).status_code == 200
    page.get_by_role("button", name="I have it").click()
    page.get_by_role("button", name="Revoke nightly").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("main")).to_contain_text("No machine has a token")
    assert httpx.get(agent, headers=headers).status_code == 401


def test_secrets_have_names_only(open_page: Open) -> None:
    page = open_page(f"{CONTACTS}/secrets")
    expect(page.get_by_role("row", name="mail-key")).to_contain_text("ada@example.org")
    assert "nobody sees" not in page.content()


def test_a_package_is_installed(open_page: Open, package: Any) -> None:
    page = open_page(f"{CRM}/install")
    page.get_by_role("button", name="Install").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose a .remix file")
    page.get_by_label("Package", exact=True).set_input_files(
        {"name": "broken.remix", "mimeType": "application/octet-stream", "buffer": b"no package"}
    )
    page.get_by_role("button", name="Install").click()
    expect(page.get_by_role("alert")).to_contain_text("(400)")
    made = package("1.1.0", grants={"ffis": ["$core_*", "$http_*"]})
    page.get_by_label("Package", exact=True).set_input_files(
        {"name": "contacts.remix", "mimeType": "application/octet-stream", "buffer": made}
    )
    page.get_by_role("button", name="Install").click()
    expect(page.get_by_role("main")).to_contain_text("Version 1.1.0 is installed")
    page.get_by_role("main").get_by_role("link", name="contacts", exact=True).click()
    expect(page.get_by_role("main")).to_contain_text("1.1.0")


def test_metrics_are_read(open_page: Open) -> None:
    page = open_page("#/server")
    page.get_by_label("Find a counter", exact=True).fill("http_requests")
    page.locator("summary", has_text="mixkit_http_requests_total").click()
    expect(page.get_by_role("row", name="method=GET route=/admin/ status=200")).to_be_visible()
    page.get_by_label("Find a counter", exact=True).fill("no such")
    expect(page.get_by_role("main")).to_contain_text("No counter is called so")


@pytest.mark.parametrize(
    "place",
    ["#/ws/none", "#/ws/crm/app/none", "#/ws/crm/app/contacts/agent/none", f"{CONTACTS}/records/none"],
)
def test_what_is_not_there_says_what_to_do(open_page: Open, place: str) -> None:
    page = open_page(place)
    expect(page.get_by_role("main")).to_contain_text("It may have been deleted, or you may not see it")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


@pytest.mark.parametrize(
    "place", ["#/nowhere", "#/ws/crm/constructor", "#/ws/%E0%A4%A", "#/ws/crm/app/contacts/records/a/b"]
)
def test_an_address_that_means_nothing(open_page: Open, place: str) -> None:
    page = open_page(place)
    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing is here")


def test_a_server_that_is_gone_is_said(open_page: Open, faults: Faults) -> None:
    page = open_page()
    page.route("**/v1/ws/crm", lambda route: route.abort())
    page.get_by_role("link", name="crm").click()
    expect(page.get_by_role("main")).to_contain_text("Is the server running?")
    assert [fault for fault in faults.found if "ERR_FAILED" in fault] == faults.found != []
    faults.found.clear()
    page.unroute("**/v1/ws/crm")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("link", name="contacts", exact=True)).to_be_visible()


def test_a_session_that_ended_is_said(open_page: Open) -> None:
    page = open_page(CRM)
    page.context.clear_cookies()
    page.get_by_role("link", name="contacts", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
