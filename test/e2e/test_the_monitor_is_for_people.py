"""The monitor as a person meets it: in headless Chromium. Nothing may be complained about in its console
(violations of the pages' policy are), and everything must be within reach of a keyboard and of a screen
reader. SCREENSHOTS=folder keeps a picture of every page."""
import os

import pytest

from harness import axe
from harness import browser as driver
from harness import redis
from harness.browser import ENTER, TAB, Browser
from harness.client import request
from harness.deadline import eventually
from harness.sink import Sink

pytestmark = pytest.mark.skipif(driver.missing() is not None, reason=str(driver.missing()))

CHARTS = "/usr/share/javascript/chart.js/chart.min.js"
PAGES = ["/", "/?span=24h", "/?span=30d", "/assets", "/assets?state=failed", "/assets/GOOD", "/assets/BAD",
         "/assets/BAD/retry", "/retry?code=too_wide", "/workers", "/workers/0/drain", "/workers/0/resize",
         "/workers/0/resume", "/queue", "/webhooks", "/webhooks?state=dead", "/webhooks/EVENT/resend", "/resend-dead"]
EMPTY = ["/", "/assets", "/workers", "/queue", "/webhooks"]
NOT_FOUND = ["/assets?q=nowhere.jpg", "/assets?since=never", "/assets/nowhere"]

# What a screen reader, a keyboard and weak eyes need (WCAG 2.2), as far as a program can tell.
CHECKLIST = r"""
const wrong = [], visible = (e) => e.offsetWidth > 0 || e.offsetHeight > 0;
const all = (css) => [...document.querySelectorAll(css)];
const named = (e) => (e.getAttribute("aria-label") || e.textContent || e.alt || "").trim();
if (document.documentElement.lang !== "en") wrong.push("no language");
if (!document.title.trim()) wrong.push("no title");
for (const [css, n] of [["main", 1], ["header", 1], ["h1", 1], ["footer", 1]])
  if (all(css).length !== n) wrong.push(css + " is there " + all(css).length + " times");
if (!all("nav[aria-label]").length) wrong.push("no named navigation");
let level = 0;
for (const h of all("h1,h2,h3,h4")) {
  const n = +h.tagName[1];
  if (n > level + 1) wrong.push("heading jumps: " + h.textContent);
  level = n;
}
for (const e of all("a,button,summary")) if (!named(e)) wrong.push("no name: " + e.outerHTML);
for (const e of all("img")) if (!e.alt) wrong.push("no alt: " + e.outerHTML);
for (const e of all("canvas,svg")) if (!e.getAttribute("aria-label") && e.getAttribute("aria-hidden") !== "true")
  wrong.push("no name: " + e.outerHTML.slice(0, 80));
for (const e of all("input:not([type=hidden]),select")) if (!e.labels.length) wrong.push("no label: " + e.outerHTML);
for (const t of all("table")) {
  if (!t.caption) wrong.push("no caption: " + t.id);
  if (!t.tHead || [...t.tHead.rows[0].cells].some((c) => c.tagName !== "TH" || c.scope !== "col" || !c.textContent))
    wrong.push("no heads: " + t.id);
}
for (const e of all(".scroll")) if (e.tabIndex !== 0 || !e.getAttribute("aria-label")) wrong.push("no way to scroll: " + e.outerHTML.slice(0, 80));
const ids = all("[id]").map((e) => e.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push("twice: " + id);
/* contrast, WCAG 1.4.3 */
const rgb = (text) => { const n = text.match(/[\d.]+/g).map(Number); return n.length > 3 && n[3] === 0 ? null : n.slice(0, 3); };
const lum = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c) return c; } return [255, 255, 255]; };
for (const e of all("body *")) {
  if (!visible(e) || !e.getClientRects().length || e.closest(".away,svg,canvas,option")) continue;
  if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
  const a = lum(rgb(getComputedStyle(e).color)), b = lum(ground(e));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) wrong.push("contrast " + ratio.toFixed(2) + ": " + e.textContent.slice(0, 40));
}
if (document.documentElement.scrollWidth > innerWidth) wrong.push("wider than the window: " + document.documentElement.scrollWidth);
return wrong;
"""


class Person:
    """A browser, the server that it looks at, and what there is to see."""

    def __init__(self, browser, assay, ids):
        self.browser, self.assay, self.ids = browser, assay, ids

    def go(self, path, live="Live"):
        for name, asset_id in self.ids.items():
            path = path.replace(name, asset_id)
        self.browser.open(f"http://127.0.0.1:{self.assay.monitor_port}{path}")
        self.browser.until(f"return document.getElementById('live').textContent === '{live}'", f"{path}: {live}")

    def at(self):
        return self.browser.url.split(str(self.assay.monitor_port), 1)[1]


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def person(browser, module_servers):
    sink, broken = Sink(), Sink()    # two origins
    assay = module_servers.start("--workers", "2")
    refused = sink.url(500)
    ids = {"GOOD": assay.submit("good.jpg", **sink.all()),
           "BAD": assay.submit("corrupt.jpg", onStart="<b>no</b>", onFailure=refused)}
    for path in ("too-wide.jpg", "text.jpg", "<script>alert(1)</script>.jpg", "a b&c.jpg"):
        assay.settled(assay.submit(path))
    for asset_id in ids.values():
        assay.settled(asset_id)
    ids["EVENT"] = assay.asset(ids["BAD"])["deliveries"][-1]["id"]
    fails = broken.url(*[500] * 50)
    for _ in range(10):
        assay.submit("text.jpg", onFailure=fails)
    eventually(lambda: request(assay.monitor_port, "GET", "/api/webhooks").json["origins"], 10, "a breaker is open")
    browser.window(1280, 900)
    browser.scheme("light")
    yield Person(browser, assay, ids)
    sink.close()
    broken.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_within_everybodys_reach(person, path, width, scheme):
    browser = person.browser
    browser.window(width, 900)
    browser.scheme(scheme)
    person.go(path)
    if path.startswith("/?") or path == "/":
        browser.run("document.querySelector('details').open = true")
    assert browser.run(CHECKLIST) == []
    if os.environ.get("SCREENSHOTS"):
        name = path.strip("/").replace("/", "-").replace("?", "-") or "overview"
        browser.screenshot(f"{os.environ['SCREENSHOTS']}/{name}-{width}-{scheme}.png")
    assert browser.complaints() == []


needs_axe = pytest.mark.skipif(axe.missing() is not None, reason=str(axe.missing()))


def axe_finds(browser, refused="4"):
    """Once wide and light and once narrow and dark: what depends on both is in the checklist, for every pair."""
    browser.run("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    axe.put_into(browser)
    found = []
    for width, scheme in ((1280, "light"), (360, "dark")):
        browser.window(width, 900)
        browser.scheme(scheme)
        found += [f"{browser.url}, {width} wide, {scheme}: {wrong}" for wrong in axe.violations(browser)]
    said = browser.complaints()
    return found + [line for line in said if f"the server responded with a status of {refused}" not in line]


@needs_axe
@pytest.mark.parametrize("path", [path for path in PAGES if "span" not in path] + NOT_FOUND)
def test_axe_finds_nothing(person, path):
    person.go(path)
    found = axe_finds(person.browser)
    assert not found, "\n".join(found)


@needs_axe
def test_axe_finds_nothing_where_nothing_is(module_servers, browser):
    new, found = Person(browser, module_servers.start(), {}), []
    for path in EMPTY:
        new.go(path)
        found += axe_finds(browser)
    assert not found, "\n".join(found)


@needs_axe
def test_axe_finds_nothing_about_what_waits(module_servers, browser):
    assay = module_servers.start("--workers", "0")
    ids = {"QUEUED": assay.submit("good.jpg", onStart="http://127.0.0.1:1/", onFailure="nowhere"),
           "BARE": assay.submit("good.jpg")}
    waiting, found = Person(browser, assay, ids), []
    for path in ("/assets/QUEUED", "/assets/BARE", "/queue", "/assets/QUEUED/retry"):
        waiting.go(path)
        found += browser.run(CHECKLIST) + axe_finds(browser)
        browser.window(1280, 900)
    assert not found, "\n".join(found)


@needs_axe
@pytest.mark.skipif(redis.PROGRAM is None, reason="there is no redis-server here")
def test_axe_finds_nothing_while_the_store_is_away(fleet, browser):
    monitor, found = fleet.part("monitor"), []
    monitor.monitor_port = monitor.port
    fleet.redis.kill()
    lost = Person(browser, monitor, {"ID": "4k2m9qx"})
    for path in ("/", "/assets", "/assets/ID", "/workers", "/queue", "/webhooks"):
        lost.go(path, live="The store is away")
        assert "The store cannot be read just now" in browser.text("main"), path
        found += browser.run(CHECKLIST) + axe_finds(browser, refused="503")
        browser.window(1280, 900)
    browser.open("about:blank")
    assert not found, "\n".join(found)


@needs_axe
def test_axe_finds_nothing_when_it_is_done(person):
    person.go("/retry?q=nowhere.jpg")
    person.browser.click(person.browser.find("button.do"))
    eventually(lambda: "0 sent on their way again" in person.browser.text("main"), 5, "it says so")
    found = axe_finds(person.browser)
    assert not found, "\n".join(found)


@needs_axe
def test_axe_finds_what_is_wrong(person):
    person.go("/assets")
    person.browser.run("document.querySelectorAll('label').forEach((e) => e.remove())")
    found = axe_finds(person.browser)
    for way in ("1280 wide, light", "360 wide, dark"):
        assert any(f"{way}: select-name: " in wrong for wrong in found), found


@pytest.fixture
def wide(person):
    person.browser.window(1280, 900)
    person.browser.scheme("light")
    yield person
    assert person.browser.complaints() == []


@pytest.mark.skipif(not os.path.exists(CHARTS), reason="libjs-chart.js is not installed")
@pytest.mark.parametrize("span", ["15m", "24h", "30d"])
def test_plots_are_drawn(wide, span):
    wide.go("/?span=" + span)
    wide.browser.until("return document.getElementById('plots').dataset.drawn > 0", "the plots are drawn")
    blank = wide.browser.run("""return [...document.querySelectorAll('canvas')].filter((c) =>
        !c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v)).length""")
    assert blank == 0


def test_figures_follow_without_a_reload(wide):
    wide.go("/")
    wide.browser.run("window.stays = true")
    before = int(wide.browser.text("[data-figure=accepted]"))
    wide.assay.ended(wide.assay.submit("small.jpg"))
    wide.browser.until(f"return +document.querySelector('[data-figure=accepted]').textContent > {before}",
                       "the figure has changed")
    assert wide.browser.run("return window.stays") is True


def test_tables_follow_without_a_reload(wide):
    wide.go("/assets")
    wide.browser.run("window.stays = true")
    asset_id = wide.assay.submit("text.jpg")
    wide.browser.until(f"return document.querySelector('#assets').textContent.includes('{asset_id}')",
                       "the new asset is listed", within=15)
    assert wide.browser.run("return window.stays") is True


def test_nothing_is_followed_while_it_is_hidden(wide):
    wide.go("/")
    hide = """Object.defineProperty(document, 'hidden', {configurable: true, get: () => arguments[0]});
              document.dispatchEvent(new Event('visibilitychange'))"""
    wide.browser.run(hide, True)
    assert wide.browser.text("#live") == "Paused"
    before = int(wide.browser.text("[data-figure=accepted]"))
    wide.assay.ended(wide.assay.submit("small.jpg"))
    assert int(wide.browser.text("[data-figure=accepted]")) == before
    wide.browser.run(hide, False)
    wide.browser.until(f"return +document.querySelector('[data-figure=accepted]').textContent > {before}",
                       "it goes on")


def test_the_picture_of_what_passed_is_shown(wide):
    wide.go("/assets/GOOD")
    wide.browser.until("return document.querySelector('.preview img').naturalWidth === 1000", "it is shown")
    wide.go("/assets/BAD")
    assert wide.browser.run("return document.querySelectorAll('.preview').length") == 0
    assert "damage" in wide.browser.run("return document.querySelector('figure').className")


def test_hostile_names_are_read_and_not_run(wide):
    wide.go("/assets?state=failed")
    assert "<script>alert(1)</script>.jpg" in wide.browser.text("#assets")
    assert wide.browser.run("return document.querySelectorAll('#assets script').length") == 0


def test_an_asset_is_found_by_its_id(wide):
    wide.go("/")
    wide.browser.type(wide.browser.find("#find"), wide.ids["BAD"] + ENTER)
    eventually(lambda: wide.at() == "/assets/" + wide.ids["BAD"], 5, "its page is open")


def test_an_asset_is_validated_again(wide):
    asset_id = wide.assay.submit("too-high.jpg")
    wide.assay.ended(asset_id)
    wide.go("/assets/" + asset_id)
    wide.browser.follow("Validate again")
    assert "queued again" in wide.browser.text("main")
    wide.browser.click(wide.browser.find("button.do"))
    eventually(lambda: wide.at() == "/assets/" + asset_id, 5, "the asset's page again")
    eventually(lambda: wide.assay.ended(asset_id)["run"] == 2, 5, "the second run")


def test_saying_no_changes_nothing(wide):
    asset_id = wide.assay.submit("too-high.jpg")
    wide.assay.ended(asset_id)
    wide.go(f"/assets/{asset_id}/retry")
    wide.browser.follow("No, leave it")
    assert wide.assay.asset(asset_id)["run"] == 1


def test_all_that_match_are_retried(wide):
    asset_id = wide.assay.submit("large.gif")
    wide.assay.ended(asset_id)
    wide.go("/assets?state=failed&code=not_a_jpeg&q=large.gif")
    wide.browser.follow("Retry all that match")
    wide.browser.click(wide.browser.find("button.do"))
    eventually(lambda: "1 sent on their way again" in wide.browser.text("main"), 5, "it says so")
    eventually(lambda: wide.assay.ended(asset_id)["run"] == 2, 5, "the second run")


def test_webhooks_are_sent_again(wide):
    before = wide.assay.asset(wide.ids["BAD"])["notifications"]["onFailure"]
    assert before["state"] == "dead"
    wide.go("/webhooks?state=dead")
    wide.browser.follow("Send again")
    wide.browser.click(wide.browser.find("button.do"))
    eventually(lambda: wide.at().startswith("/assets/"), 5, "the asset's page is open")
    wide.assay.settled(wide.ids["BAD"])
    assert wide.assay.asset(wide.ids["BAD"])["notifications"]["onFailure"]["lastAttemptAt"] > before["lastAttemptAt"]
    wide.go("/webhooks?state=dead")
    wide.browser.follow("Send all dead letters again")
    wide.browser.click(wide.browser.find("button.do"))
    eventually(lambda: "1 sent on their way again" in wide.browser.text("main"), 5, "it says so")


def test_origins_that_are_held_back_from_are_shown(wide):
    wide.go("/webhooks")
    table = wide.browser.text("#origins")
    assert "http://127.0.0.1:" in table and ("open" in table or "half-open" in table), table
    assert f":{wide.assay.process.pid}" in table


def test_a_worker_is_drained_resized_and_resumed(wide):
    wide.go("/workers")
    assert "online" in wide.browser.text("#workers") and "2 of 2" in wide.browser.text("#workers")

    def do(action, then):
        wide.browser.follow(action)
        eventually(lambda: wide.at().endswith(action.lower()), 5, "it is asked")
        assert "It goes on" in wide.browser.text("main") or action != "Drain"
        then()
        wide.browser.click(wide.browser.find("button.do"))
        eventually(lambda: wide.at() == "/workers", 5, "the workers are shown again")

    def one():
        field = wide.browser.find("#active")
        wide.browser.run("document.getElementById('active').value = ''")
        wide.browser.type(field, "1")
    do("Drain", lambda: None)
    eventually(lambda: "drained" in wide.browser.text("#workers"), 10, "it is drained")
    asset_id = wide.assay.submit("small.jpg")
    do("Resize", one)
    assert "1 of 2" in wide.browser.text("#workers")
    wide.assay.ended(asset_id)
    do("Drain", lambda: None)
    do("Resume", lambda: None)
    assert "2 of 2" in wide.browser.text("#workers") and "online" in wide.browser.text("#workers")


def test_a_keyboard_is_enough(wide):
    """From the top: a link over the navigation comes first, and what has the focus shows it."""
    wide.go("/assets?state=failed")
    wide.browser.run("document.activeElement.blur()")
    seen = []
    while len(seen) < 60:    # a time alone has seven stops
        wide.browser.press(TAB)
        name, outline = wide.browser.run("""const e = document.activeElement, s = getComputedStyle(e);
            return [e === document.body ? null : e.textContent.trim() || e.name || e.className, s.outlineStyle]""")
        if name is None:    # past the last one
            break
        assert outline != "none", name
        seen.append(name)
    assert seen[0] == "Skip to the content"
    for name in ("Overview", "Webhooks", "Find", "Search", "Retry all that match"):
        assert name in seen, seen


def test_pages_say_the_same_without_a_script(wide):
    wide.browser.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        wide.browser.open(f"http://127.0.0.1:{wide.assay.monitor_port}/")
        page = wide.browser.text()
        assert "accepted" in page and "not_an_image" in page and "The figures as a table" in page
        wide.browser.open(f"http://127.0.0.1:{wide.assay.monitor_port}/assets?state=failed")
        assert "text.jpg" in wide.browser.text("#assets")
    finally:
        wide.browser.cdp("Emulation.setScriptExecutionDisabled", value=False)


def test_a_server_that_is_gone_is_told(servers, browser):
    assay = servers.start()
    browser.open(f"http://127.0.0.1:{assay.monitor_port}/")
    browser.until("return document.getElementById('live').textContent === 'Live'", "it is live")
    assay.kill()
    browser.until("return document.getElementById('live').textContent === 'Not connected'", "it says so")
    browser.open("about:blank")
    browser.complaints()    # the connection is refused, and the console says so
