"""The page for who may do little: what would be refused is not offered, nothing errs, and who grants what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Open, Site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("admin")]

CRM = "#/ws/crm"
CONTACTS = f"{CRM}/app/contacts"
RUNNER, EDITOR, CREATOR, NOBODY = (f"{name}@elsewhere.org" for name in ("rita", "eva", "carl", "noa"))
GRANTS = {
    RUNNER: ("runner", "agent/contacts/welcome"),
    EDITOR: ("editor", "db/contacts"),
    CREATOR: ("db/creator", "workspace"),
}
GO = """place => {
  document.querySelector("main").replaceChildren();
  if (location.hash === place) dispatchEvent(new Event("again"));
  else location.hash = place;
}"""
LINKS = "[...document.querySelectorAll('a[href^=\"#/\"]')].map((each) => each.getAttribute('href'))"


@pytest.fixture(scope="module", autouse=True)
def granted(site: Site) -> Iterator[None]:
    """What the users above may do."""
    with site.client() as client:
        path = "/v1/ws/crm/permissions"
        made = [
            client.post(path, json={"subject": f"user/{user}", "role": role, "resource": resource})
            for user, (role, resource) in GRANTS.items()
        ]
        yield
        for each in made:
            client.delete(f"{path}/{each.raise_for_status().json()['id']}").raise_for_status()


def go(page: Page, place: str) -> None:
    """Go there, and wait until it is shown."""
    page.evaluate(GO, place)
    page.locator("main:not([aria-busy]) h1").wait_for()


def tabs(page: Page) -> list[str]:
    return page.locator("nav.tabs a").all_text_contents()


def buttons(page: Page) -> list[str]:
    """All that can be pressed, also in what is closed yet."""
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    return page.get_by_role("main").get_by_role("button").all_text_contents()


def main(page: Page) -> Locator:
    return page.get_by_role("main")


@pytest.mark.parametrize("user", [RUNNER, EDITOR, CREATOR, NOBODY])
def test_all_that_is_offered_is_allowed(open_page: Open, user: str) -> None:
    """Every link is followed that the page has for somebody: nothing that it asks for is refused."""
    page = open_page(user=user)
    refused: list[str] = []
    page.on("response", lambda got: refused.append(f"{got.status} {got.url}") if got.status >= 400 else None)
    waiting, seen = ["#/"], set()
    while waiting:
        place = waiting.pop()
        if place not in seen:
            seen.add(place)
            go(page, place)
            waiting.extend(page.evaluate(LINKS))
            assert main(page).get_by_text("You may not").count() == 0, place
            assert page.locator(".notice.bad").count() == 0, place
    assert refused == []
    assert (f"{CONTACTS}/agent/welcome" in seen) == (user in (RUNNER, EDITOR))
    assert (f"{CONTACTS}/agent/break" in seen) == (user == EDITOR)
    # One that may be seen and not run is a name, and no link.
    assert (f"{CONTACTS}/records" in seen) == (user == EDITOR)
    assert "#/server" not in seen and "#/import" not in seen


def test_who_may_run_one_agent_runs_it(open_page: Open) -> None:
    page = open_page(user=RUNNER)
    expect(main(page)).not_to_contain_text("Make a workspace")
    page.get_by_role("link", name="crm").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("crm")
    assert (tabs(page), buttons(page)) == (["Apps", "Activity", "Accounts"], [])
    page.get_by_role("link", name="contacts", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("contacts")
    assert (tabs(page), buttons(page)) == (["Agents", "Activity"], [])
    expect(page.get_by_role("link", name="break")).to_have_count(0)
    page.get_by_role("link", name="welcome").click()
    expect(main(page)).to_contain_text("You have not run it yet")
    assert tabs(page) == ["Run", "Activity"]
    page.get_by_label("name", exact=True).fill("Rita")
    page.get_by_label("visits", exact=True).fill("1")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_label("Answer", exact=True)).to_contain_text("Rita")
    expect(page.get_by_role("region", name="Last runs")).to_contain_text(f"user/{RUNNER}")


def test_who_may_change_one_app_changes_it(site: Site, open_page: Open) -> None:
    page = open_page(CRM, user=EDITOR)
    assert tabs(page) == ["Apps", "Activity", "Accounts"]
    page.get_by_role("link", name="Records of contacts").click()
    expect(page.get_by_role("region", name="Rows")).to_be_visible()
    assert tabs(page) == ["Agents", "Records", "Files", "Activity", "Export"]
    page.get_by_role("link", name="New record").click()
    page.get_by_label("Record", exact=True).fill('{"entity": "of eva"}')
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Delete this record").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete the record").click()
    expect(main(page)).to_contain_text("was deleted")
    go(page, f"{CONTACTS}/export")
    # What was granted is not hers to see, and she is not asked whether it shall come along.
    expect(page.get_by_label("With what was granted")).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("link", name="Export", exact=True).last.click()
    assert b"rita@" not in download.value.path().read_bytes()
    go(page, CONTACTS)
    assert buttons(page) == []


MISSING = {
    RUNNER: {
        f"{CRM}/permissions": "the role admin on workspace to user/rita@elsewhere.org",
        f"{CRM}/install": "the role admin on workspace",
        f"{CONTACTS}/records": "the role editor on db/contacts",
        f"{CONTACTS}/records/x": "the role editor on db/contacts",
        f"{CONTACTS}/secrets": "the role admin on db/contacts",
    },
    EDITOR: {
        f"{CRM}/providers": "the role admin on workspace",
        f"{CRM}/export": "the role editor on workspace",
    },
    CREATOR: {
        f"{CONTACTS}/agent/welcome": "the role runner on agent/contacts/welcome",
        CONTACTS: "You may run none of them. Who administers the workspace crm can grant it",
        CRM: "Make an empty app",
    },
    NOBODY: {
        "#/server": "That is for who runs the server",
        "#/import": "Who runs the server says who may",
        "#/": "as user/noa@elsewhere.org",
        CRM: "It may have been deleted, or you may not see it",
    },
}


@pytest.mark.parametrize("user", MISSING)
def test_an_address_says_who_grants_it(open_page: Open, user: str) -> None:
    """As of a link that somebody else has sent."""
    page = open_page(user=user)
    for place, needed in MISSING[user].items():
        go(page, place)
        expect(main(page)).to_contain_text(needed)


def test_what_is_taken_back_is_offered_no_more(site: Site, open_page: Open) -> None:
    with site.client() as client:
        path = "/v1/ws/crm/permissions"
        grant = {"subject": f"user/{NOBODY}", "role": "admin", "resource": "db/contacts"}
        id = client.post(path, json=grant).raise_for_status().json()["id"]
        page = open_page(CONTACTS, user=NOBODY)
        assert tabs(page) == ["Agents", "Records", "Files", "Secrets", "Permissions", "Activity", "Export"]
        assert buttons(page) == ["Delete this app…"]
        client.delete(f"{path}/{id}").raise_for_status()
        go(page, f"{CONTACTS}/records")
        expect(main(page)).to_contain_text("It may have been deleted, or you may not see it")
