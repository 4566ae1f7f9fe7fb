"""The page for everybody: by keyboard, for who listens, in the dark, on a narrow screen; and for who attacks it."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from conftest import Open, Site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("admin")]

CRM = "#/ws/crm"
CONTACTS = f"{CRM}/app/contacts"
PLACES = {
    "#/": "Workspaces",
    "#/server": "Server",
    "#/import": "Import a workspace",
    CRM: "crm",
    f"{CRM}/permissions": "Permissions of crm",
    f"{CRM}/activities": "Activity of crm",
    f"{CRM}/accounts": "Accounts of crm",
    f"{CRM}/tokens": "Tokens of crm",
    f"{CRM}/providers": "Providers of crm",
    f"{CRM}/install": "Install of crm",
    f"{CRM}/import": "Import of crm",
    f"{CRM}/export": "Export of crm",
    CONTACTS: "contacts",
    f"{CONTACTS}/records": "Records of contacts",
    f"{CONTACTS}/records/new": "new",
    f"{CONTACTS}/files": "Files of contacts",
    f"{CONTACTS}/secrets": "Secrets of contacts",
    f"{CONTACTS}/export": "Export of contacts",
    f"{CONTACTS}/agent/welcome": "welcome",
}

AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
RUN_AXE = """async (rules) => {
  const { violations } = await axe.run(document, rules ? { runOnly: rules } : {});
  const told = (node) => `${node.html} ${node.failureSummary}`;
  return violations.map((each) => `${each.id}: ${each.nodes.map(told).join("; ")}`);
}"""
ATTEMPTS = """() => new Promise((done) => {
  const found = {}, directives = new Set();
  addEventListener("securitypolicyviolation", (event) => directives.add(event.effectiveDirective));
  const attempt = async (name, act) => {
    try { await act(); found[name] = "done"; } catch (error) { found[name] = error.name; }
  };
  setTimeout(async () => {
    await attempt("markup", () => { document.body.innerHTML = "<b>x</b>"; });
    await attempt("eval", () => eval("1"));
    await attempt("elsewhere", () => fetch("http://127.0.0.1:9/"));
    const style = Object.assign(document.createElement("style"), { textContent: "body { color: red }" });
    document.body.append(style);
    found.style = getComputedStyle(document.body).color === "rgb(255, 0, 0)" ? "done" : "none";
    setTimeout(() => done({ ...found, directives: [...directives].sort() }), 100);
  });
})"""
FOCUSED = """(({ ariaLabel, labels, textContent }) => ariaLabel ?? labels?.[0]?.textContent ?? textContent)(
  document.activeElement
)"""
ALERT = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


def go(page: Page, place: str, title: str) -> None:
    """Go there, and wait until it is shown."""
    page.evaluate("place => { location.hash = place; }", place)
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    expect(page.get_by_role("main")).not_to_have_attribute("aria-busy", "true")


def faults_of(page: Page, *rules: str) -> Any:
    return page.evaluate(RUN_AXE, list(rules) or None)


def test_each_view_is_for_everybody(open_page: Open) -> None:
    """axe-core finds nothing: names, roles, landmarks, contrast, in the light and in the dark, opened and closed."""
    page = open_page()
    page.evaluate(AXE)
    found = {}
    for place, title in PLACES.items():
        go(page, place, title)
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        found[place, "light"] = faults_of(page)
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        found[place, "dark"] = faults_of(page, "color-contrast")
    assert {place: faults for place, faults in found.items() if faults} == {}


def test_what_is_said_has_contrast_too(open_page: Open, package: Any) -> None:
    """Errors, answers, explanations, dialogs."""
    page = open_page(f"{CONTACTS}/agent/break")
    page.evaluate(AXE)
    found = []

    def look() -> None:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found.extend(faults_of(page))

    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("main").get_by_text("The agent failed", exact=True)).to_be_visible()
    look()
    go(page, f"{CRM}/permissions", "Permissions of crm")
    explain = page.get_by_role("form", name="Effective access")
    explain.get_by_role("button").click()
    expect(explain.get_by_role("alert")).to_contain_text("Write who")
    explain.get_by_label("Who").fill("user/ada@example.org")
    explain.get_by_label("On").select_option("db/contacts")
    explain.get_by_role("button").click()
    expect(page.get_by_role("main").get_by_text("Yes:")).to_be_visible()
    look()
    page.get_by_role("button", name="Take back").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    look()
    page.keyboard.press("Escape")
    go(page, f"{CRM}/install", "Install of crm")
    made = package("9.0.0", grants={"ffis": ["$http_do"]})
    page.get_by_label("Package", exact=True).set_input_files(
        {"name": "contacts.remix", "mimeType": "application/octet-stream", "buffer": made}
    )
    page.get_by_role("button", name="Look at it").click()
    expect(page.locator(".minus", has_text="$core_*")).to_be_visible()
    look()
    assert found == []


def test_signing_in_is_for_everybody(open_page: Open) -> None:
    page = open_page(signed_in=False)
    page.evaluate(AXE)
    assert faults_of(page) == []
    page.emulate_media(color_scheme="dark")
    assert faults_of(page, "color-contrast") == []


def test_all_is_done_by_keyboard(open_page: Open, token: str) -> None:
    """From signing in to running an agent and taking back a step, with no pointer."""
    page = open_page(signed_in=False)
    press = page.keyboard.press

    def focused() -> str:
        text: str = page.evaluate(FOCUSED)
        return text

    def tab_to(name: str) -> None:
        """Press Tab until that has the focus, which is always seen."""
        for _ in range(40):
            press("Tab")
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            if page.evaluate("document.activeElement !== document.body"):
                assert outline != "none", focused()
            if focused() == name:
                return
        raise AssertionError(f"no way to {name}")

    tab_to("Token")
    page.keyboard.type(token)
    press("Enter")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("Workspaces")
    expect(heading).to_be_focused()
    tab_to("crm")
    press("Enter")
    expect(heading).to_have_text("crm")
    expect(heading).to_be_focused()
    tab_to("contacts")
    press("Enter")
    expect(heading).to_have_text("contacts")
    tab_to("welcome")
    press("Enter")
    expect(heading).to_have_text("welcome")
    tab_to("name")
    page.keyboard.type("Ada")
    tab_to("visits")
    page.keyboard.type("3")
    tab_to("formal")
    press("Space")
    tab_to("Run")
    press("Enter")
    expect(page.get_by_label("Answer", exact=True)).to_contain_text('"visits": 3')
    # What was pressed keeps the focus.
    page.wait_for_function(f"name => {FOCUSED} === name", arg="Run")
    page.go_back()
    expect(heading).to_have_text("contacts")
    tab_to("Delete this app…")
    press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("textbox")).to_be_focused()
    press("Escape")
    expect(dialog).to_have_count(0)
    page.wait_for_function(f"name => {FOCUSED} === name", arg="Delete this app…")


def test_the_content_is_one_step_away(open_page: Open) -> None:
    page = open_page(CRM)
    page.get_by_role("link", name="mixkit").focus()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    assert page.url.endswith(CRM)
    expect(page.get_by_role("heading", level=1)).to_have_text("crm")


def test_a_narrow_screen_is_enough(open_page: Open) -> None:
    """Nothing is beyond the edge but what is in a table, which scrolls by itself."""
    width = 320
    page = open_page(viewport={"width": width, "height": 640})
    wide = {}
    for place, title in PLACES.items():
        go(page, place, title)
        size = page.evaluate("document.documentElement.scrollWidth")
        if size > width:
            wide[place] = size
    assert wide == {}


def test_texts_stay_texts(site: Site, open_page: Open) -> None:
    """Records, names of fields, answers and errors of agents, tokens and addresses that are markup and scripts."""
    records = "/v1/ws/crm/app/attacked"
    with site.client() as client:
        client.put(records).raise_for_status()
        record = {
            "entity": ALERT,
            ALERT: ALERT,
            "__proto__": {"polluted": ALERT},
            "constructor": ALERT,
            "list": [ALERT, {ALERT: ALERT}],
        }
        id = (
            client.post(f"{records}/documents", json=record)
            .raise_for_status()
            .json()["_rmx_id"]["_rmx_value"]
        )
        client.patch(f"{records}/documents/{id}", json={"entity": f"{ALERT}2"}).raise_for_status()
        made = (
            client.post("/v1/ws/crm/tokens", json={"name": ALERT, "rights": [{"role": "runner"}]})
            .raise_for_status()
            .json()
        )
    page = open_page()
    for place, title in {
        "#/ws/crm/app/attacked/records": "Records of attacked",
        f"#/ws/crm/app/attacked/records/{id}": id,
        "#/ws/crm/tokens": "Tokens of crm",
    }.items():
        go(page, place, title)
        expect(page.get_by_role("main")).to_contain_text("onerror=")
        expect(page.locator("main img, main script")).to_have_count(0)
    go(page, "#/ws/crm/app/contacts/agent/welcome", "welcome")
    page.get_by_label("name", exact=True).fill(ALERT)
    page.get_by_label("visits", exact=True).fill("1")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_label("Answer", exact=True)).to_contain_text("onerror=")
    page.get_by_label("visits", exact=True).fill(ALERT)
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("onerror=")
    for name in (ALERT, "javascript:alert(1)", "../../x", "a/b?c#d"):
        page.evaluate("name => { location.hash = `#/ws/${encodeURIComponent(name)}`; }", name)
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        expect(page.get_by_role("alert").or_(page.get_by_role("main"))).to_contain_text("The server says no")
    assert page.evaluate("({}).polluted") is None
    assert "taken" not in page.title()
    with site.client() as client:
        client.delete(f"/v1/ws/crm/tokens/{made['id']}").raise_for_status()
        client.delete(records).raise_for_status()


def test_what_a_script_would_do_is_refused(open_page: Open, faults: Any) -> None:
    """The policy of the page holds: no markup of texts, no code of texts, nothing from or to elsewhere."""
    page = open_page()
    refused = page.evaluate(ATTEMPTS)
    assert refused == {
        "markup": "TypeError",
        "eval": "EvalError",
        "elsewhere": "TypeError",
        "style": "none",
        "directives": ["connect-src", "require-trusted-types-for", "style-src-elem"],
    }
    assert any("Content Security Policy" in fault for fault in faults.found)
    faults.found.clear()
