# SPDX-License-Identifier: Apache-2.0
"""What people see in the console, and what it asks the gateway for."""

from __future__ import annotations

import json
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser import cards
from tests.browser.conftest import Open
from tests.browser.fake import ADMIN, READER, FakeGateway

EVIL = "<img src=x onerror='window.hurt=1'>"


def requests_of(page: Page) -> list[str]:
    """Fills with the addresses that the page asks for from now on."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    return asked


def test_all_models_are_shown_with_state_version_canary_and_workers(console: Open) -> None:
    page = console()
    row = page.get_by_role("row", name=re.compile("wine"))
    expect(row).to_contain_text("ready")
    expect(row).to_contain_text("v3 canary v4 10%")
    expect(row).to_contain_text("2 of 2")
    expect(page.get_by_role("row", name=re.compile("churn"))).to_contain_text("degraded")
    expect(page.get_by_role("row", name=re.compile("embed"))).to_contain_text("cold")
    expect(page.get_by_role("row", name=re.compile("prices"))).to_contain_text("loading")
    page.get_by_label("Filter models").fill("VECTORS")
    expect(page.locator("#models tbody tr")).to_have_count(1)


def test_a_model_is_shown_with_workers_history_events_and_spares(console: Open) -> None:
    page = console("#/models/wine")
    expect(page.get_by_role("table", name="Workers")).to_contain_text("22107")
    expect(page.get_by_role("table", name="Workers")).to_contain_text("10.0.4.18")
    history = page.get_by_role("table", name="Versions, newest first")
    expect(history.locator("tbody tr").first).to_contain_text("canary 10%")
    expect(history).to_contain_text("MODEL_PROBE_FAILED")
    expect(page.locator(".part-events li").first).to_contain_text("v4 is a canary")
    expect(page.get_by_role("table", name="Spare processes")).to_contain_text("31 MB")
    expect(page).to_have_title("wine · sparkmodel")


def test_a_degraded_model_says_why_and_what_helps(console: Open) -> None:
    page = console("#/models/churn")
    expect(page.get_by_role("alert").filter(has_text="Workers are missing")).to_contain_text("lightgbm")
    expect(page.get_by_text("does not answer")).to_be_visible()
    page.get_by_text("Last error").click()
    expect(page.get_by_text("ModuleNotFoundError")).to_be_visible()


def test_without_a_model_it_tells_how_to_register_one(console: Open, fake: FakeGateway) -> None:
    fake.models.clear()
    page = console()
    expect(page.get_by_role("heading", name="No model is served yet")).to_be_visible()
    page.get_by_role("button", name="Copy: shell command").click()
    assert page.evaluate("getSelection().toString()").startswith("sparkmodel register ")


def test_names_comments_and_errors_are_text_never_markup(console: Open, fake: FakeGateway) -> None:
    evil = {**fake.models["churn"], "name": EVIL, "comment": EVIL, "source": EVIL, "problem": EVIL, "example": EVIL}
    evil["inputs"] = [{"name": EVIL, "type": EVIL, "required": True}]
    evil["last_error"] = {"time": 1.0, "message": EVIL, "details": EVIL}
    evil["workers_now"] = [cards.worker(1, node=EVIL)]
    evil["versions"] = [cards.version(1, EVIL, source=EVIL, by=EVIL, note=EVIL)]
    evil["spares"] = {EVIL: {"ready": 1}}
    fake.models = {EVIL: evil}
    page = console()
    page.get_by_role("link", name=EVIL).click()
    expect(page.get_by_role("heading", name=EVIL, exact=True)).to_be_visible()
    for text in ("Scale", "Drop"):
        page.get_by_role("button", name=text).click()
        page.keyboard.press("Escape")
    assert page.locator("main img, main script, dialog img").count() == 0
    assert page.evaluate("window.hurt") is None


@pytest.mark.parametrize("name", ["50%", "wine%2F2", "a b", "%asd", "#x?y"])
def test_a_name_with_any_character_has_an_address_of_its_own(console: Open, fake: FakeGateway, name: str) -> None:
    """As in MLflow's interface, where '%' in names led elsewhere."""
    fake.models = {name: {**fake.models["wine"], "name": name}}
    page = console()
    page.get_by_role("link", name=name).click()
    page.reload()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()


def test_a_card_that_lacks_what_others_have_does_not_blank_the_page(console: Open, fake: FakeGateway) -> None:
    """As in Ray's dashboard, where one actor without an address took the whole page down."""
    fake.models["bare"] = {"name": "bare", "version": 1}
    page = console("#/models/bare")
    expect(page.get_by_role("heading", name="bare")).to_be_visible()
    expect(page.get_by_text("No worker runs")).to_be_visible()


def test_the_example_is_sent_as_it_is_and_answered_by_the_model(console: Open) -> None:
    page = console("#/models/wine")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".answer pre")).to_contain_text("[15.6, 14.0]")
    expect(page.locator(".answer .meta")).to_contain_text("v1")


def test_without_an_example_there_is_a_field_for_each_input_and_whole_numbers_stay_whole(console: Open) -> None:
    page = console("#/models/fares")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".answer")).to_contain_text("Cannot send 'distance km': it is required and empty.")
    page.get_by_label("distance km").fill("1.5")
    page.get_by_label("trips").fill("9007199254740993")
    with page.expect_request("**/invocations") as sent:
        page.get_by_role("button", name="Predict").click()
    assert json.loads(sent.value.post_data or "") == {
        "dataframe_split": {"columns": ["distance km", "trips", "night"], "data": [[1.5, 9007199254740993, None]]}
    }
    page.get_by_role("button", name="Edit as JSON").click()
    expect(page.get_by_label("Request, JSON")).to_have_value(re.compile("9007199254740993"))


def test_answers_are_laid_out_without_changing_a_number(console: Open) -> None:
    page = console()
    text = '{"predictions":[9007199254740993,1.0,-0.0,1e400],"s":"a, {b}: \\"c\\"","rows":[[1.50],[]],"none":{}}'
    laid = page.evaluate("async (text) => (await import('/console/form.js')).pretty(text)", text)
    assert re.sub(r"\n *", "", laid).replace(": ", ":").replace(", ", ",") == text.replace(": ", ":").replace(", ", ",")


def test_what_is_not_known_is_a_gap_in_a_line(console: Open) -> None:
    """As users of Grafana expect: missing is not zero."""
    page = console()
    path = page.evaluate("async () => (await import('/console/charts.js')).lineOf([1, null, 1, 1], 1, 30, 10)")
    assert path == "M0.0 1.0h2M20.0 1.0L30.0 1.0"


CHANGES = [
    ("Scale", {"Workers": "3"}, (), "Scale", ("POST", "scale", {"workers": 3})),
    ("Scale", {"Workers": "0", "At most": "4"}, (), "Scale", ("POST", "scale", {"workers": [0, 4]})),
    ("Update", {"New source": "models:/wine/5"}, (), "Update", ("POST", "update", {"source": "models:/wine/5"})),
    (
        "Update",
        {"Share of calls, %": "25", "Most errors, %": "2"},
        ("Canary: a share",),
        "Update",
        ("POST", "update", {"traffic": 0.25, "max_error_rate": 0.02}),
    ),
    ("Roll back", {}, (), "Roll back", ("POST", "rollback", {})),
    ("Promote canary", {}, (), "Promote", ("POST", "promote", {})),
    ("Drop", {"Type wine to confirm": "wine"}, (), "Drop model", ("DELETE", None, None)),
]


@pytest.mark.parametrize(("action", "filled", "checked", "verb", "change"), CHANGES)
def test_a_change_reaches_the_gateway_with_the_token(
    console: Open,
    fake: FakeGateway,
    action: str,
    filled: dict[str, str],
    checked: tuple[str, ...],
    verb: str,
    change: tuple[str, str | None, object],
) -> None:
    page = console("#/models/wine")
    page.get_by_role("button", name=action, exact=True).click()
    page.get_by_label("Token", exact=True).fill(ADMIN)  # asked for once
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=re.compile("wine$"), level=2)).to_be_visible()
    for label in checked:
        page.get_by_label(label).check()
    for label, text in filled.items():
        page.get_by_role("dialog").get_by_label(label).fill(text)
    page.get_by_role("dialog").get_by_role("button", name=verb).click()
    expect(page.locator("#toasts")).to_contain_text("wine")
    assert fake.changes == [change]
    assert page.get_by_role("dialog").count() == 0
    assert ADMIN not in page.url
    assert page.evaluate("localStorage.length + document.cookie.length") == 0


def test_a_model_is_not_dropped_unless_its_name_is_typed(console: Open, fake: FakeGateway) -> None:
    page = console("#/models/wine", token=ADMIN)
    page.get_by_role("button", name="Drop").click()
    page.get_by_label("Type wine to confirm").fill("win")
    page.get_by_role("button", name="Drop model").click()
    expect(page.get_by_role("dialog")).to_contain_text("That is not its name.")
    page.keyboard.press("Escape")
    assert fake.changes == []


def test_a_change_that_is_forbidden_says_so_in_the_dialog_and_offers_another_token(
    console: Open, fake: FakeGateway
) -> None:
    page = console("#/models/wine", token=READER)
    page.get_by_role("button", name="Scale").click()
    page.get_by_role("dialog").get_by_role("button", name="Scale").click()
    expect(page.locator(".said .condition")).to_have_text("AUTHENTICATION_FAILED")
    expect(page.locator(".said .hint")).to_contain_text("use another")
    page.get_by_role("button", name="Use another token").click()
    page.get_by_label("Token", exact=True).fill(ADMIN)
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Scale").click()
    expect(page.locator("#toasts")).to_contain_text("wine")
    assert len(fake.changes) == 1


def test_a_change_that_takes_long_shows_that_it_goes_on(console: Open, fake: FakeGateway) -> None:
    fake.hold.clear()
    page = console("#/models/wine", token=ADMIN)
    page.get_by_role("button", name="Scale").click()
    page.get_by_role("dialog").get_by_role("button", name="Scale").click()
    expect(page.get_by_role("dialog")).to_contain_text("Working")
    page.get_by_role("button", name="Close").click()
    fake.hold.set()
    expect(page.locator("#toasts")).to_contain_text("wine: 2 workers.")


def test_a_closed_gateway_asks_for_a_token_and_shows_models_with_it(console: Open, fake: FakeGateway) -> None:
    fake.closed = True
    page = console()
    page.get_by_role("button", name="Enter token").last.click()
    page.get_by_label("Token", exact=True).fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#banner")).to_contain_text("This token may not look at models")
    assert not page.locator("#main").is_visible()
    page.get_by_role("button", name="Use another token").click()
    page.get_by_label("Token", exact=True).fill(READER)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="wine")).to_be_visible()
    expect(page.locator("#banner")).to_be_empty()


def test_a_gateway_that_fails_or_is_gone_is_told_of_and_what_was_known_stays(console: Open, fake: FakeGateway) -> None:
    page = console()
    expect(page.get_by_role("link", name="wine")).to_be_visible()
    fake.broken = 500
    expect(page.locator("#banner")).to_contain_text("the keeper is gone", timeout=10_000)
    page.context.set_offline(True)
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#banner")).to_contain_text("The gateway does not answer")
    expect(page.locator("#banner")).to_contain_text("Tried 2 times")
    expect(page.get_by_role("link", name="wine")).to_be_visible()
    page.context.set_offline(False)
    fake.broken = 0
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#banner")).to_be_empty()


def test_a_model_that_is_not_there_has_a_page_that_says_so(console: Open) -> None:
    page = console("#/models/whine")
    expect(page.get_by_text("There is no model whine")).to_be_visible()
    page.get_by_role("link", name="← All models").click()
    expect(page.get_by_role("link", name="wine")).to_be_visible()


def test_a_page_that_nobody_looks_at_asks_for_nothing_and_one_that_is_open_does_not_grow(console: Open) -> None:
    page = console()
    page.clock.install()
    page.goto(page.url + "#/models/wine")
    page.reload()
    expect(page.get_by_role("table", name="Workers")).to_be_visible()
    asked = requests_of(page)
    nodes = page.evaluate("document.querySelectorAll('*').length")
    for _ in range(20):
        with page.expect_response("**/events"):
            page.clock.run_for(3000)
    assert page.evaluate("document.querySelectorAll('*').length") == nodes
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    asked.clear()
    page.clock.run_for(600_000)
    assert asked == []
    page.evaluate("Object.defineProperty(document, 'hidden', {value: false})")
    with page.expect_response("**/events"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_all_can_be_reached_by_keyboard_and_dialogs_keep_the_focus(console: Open) -> None:
    page = console("#/models/wine", token=ADMIN)
    expect(page.get_by_role("table", name="Workers")).to_be_visible()
    seen = []
    for _ in range(16):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break  # all around
        seen.append(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.tagName"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", seen[-1]
    assert seen[0] == "Skip to content"
    assert {"Promote canary", "Update", "Scale", "Roll back", "Drop", "5 min", "TEXTAREA", "Predict"} <= set(seen)
    page.get_by_role("button", name="Update").focus()
    page.keyboard.press("Enter")
    for key in ["Tab"] * 9 + ["Shift+Tab"] * 9:
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "Update"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_serious_is_found_by_axe(console: Open, fake: FakeGateway, width: int, scheme: str) -> None:
    fake.past()
    page = console("", width=width, color_scheme=scheme, token=ADMIN)
    expect(page.get_by_role("table", name="Models")).to_be_visible()
    found = serious(page)
    page.goto(page.url + "#/models/churn")
    expect(page.get_by_role("table", name="Workers")).to_be_visible()
    found += serious(page)
    page.get_by_role("button", name="Update").click()
    found += serious(page)
    fake.broken = 500
    page.reload()
    expect(page.locator("#banner")).to_contain_text("gone")
    assert found + serious(page) == []


def serious(page: Page) -> list[str]:
    """What axe finds, by rule and place."""
    violations = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['target']}"
        for one in violations
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
