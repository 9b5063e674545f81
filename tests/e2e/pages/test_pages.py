"""Log-in, overview and timeline, as somebody at a browser uses them."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from pgkeep.server.scratch import ScratchCluster
from support.browsing import PASSWORD, PATIENCE_MS, Kept, Visitor
from support.wait import wait_for

Visit = Callable[[], Visitor]
expect.set_options(timeout=PATIENCE_MS)


def test_nobody_sees_anything_without_the_right_password(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open("/timeline?cluster=main")
    expect(page).to_have_url(re.compile(r"/login\?next="))
    visitor.shoot("login")
    visitor.log_in("admin", "not it")
    expect(page.get_by_role("alert")).to_contain_text("Cannot log in")
    visitor.log_in("admin", PASSWORD)
    expect(page.get_by_role("heading", name="Timeline", exact=True)).to_be_visible()
    page.get_by_role("button", name="Account").click()
    page.get_by_text("Log out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    visitor.open("/")
    expect(page.get_by_label("Password")).to_be_visible()


def test_a_link_leads_nowhere_else_after_the_log_in(visit: Visit, kept: Kept) -> None:
    visitor = visit()
    page = visitor.open("/login?next=//example.invalid/")
    visitor.log_in("viewer")
    expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(rf"^{re.escape(kept.address)}/$"))


def test_the_overview_says_how_well_each_cluster_is_protected(visit: Visit) -> None:
    visitor = visit()
    page = visitor.arrive("viewer", "/", "Overview")
    clusters = page.get_by_role("region", name="Clusters")
    expect(clusters).to_contain_text(re.compile(r"protected to \d+ \w+ [\d:]+ \(.+\), from"))
    expect(page.get_by_role("region", name="To do now")).to_be_visible()
    visitor.shoot("overview")
    clusters.get_by_role("link", name="main").click()
    expect(page.get_by_role("heading", name="Timeline", exact=True)).to_be_visible()


def test_light_and_dark_is_remembered_and_the_keyboard_reaches_the_content(visit: Visit) -> None:
    visitor = visit()
    page = visitor.arrive("viewer", "/", "Overview")
    root = page.locator("html")
    before = root.get_attribute("data-theme")
    page.get_by_role("button", name="Light or dark").click()
    expect(root).not_to_have_attribute("data-theme", str(before))
    page.reload()
    expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()
    expect(root).not_to_have_attribute("data-theme", str(before))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()


def test_a_click_on_the_timeline_becomes_a_restore_that_holds(
    visit: Visit, kept: Kept, new_folder: Path
) -> None:
    kept.pg.sql("INSERT INTO words VALUES (2, 'before the point')")
    kept.run("point", "before_it", "--wait").ok()
    kept.pg.sql("INSERT INTO words VALUES (3, 'after the point')")
    visitor = visit()
    page = visitor.arrive("restorer", "/timeline?cluster=main", "Timeline")
    mark = page.get_by_role("button", name="Restore point before_it")
    mark.hover()
    expect(page.locator(".pk-tip")).to_contain_text("by ")
    mark.click()
    moment = page.get_by_role("region", name="Moment")
    expect(moment).to_contain_text("can be restored")
    expect(moment.locator("code")).to_contain_text("--to name:before_it")
    visitor.shoot("timeline")
    _restore(page, visitor, new_folder)
    with ScratchCluster.over(kept.pg.binaries, new_folder) as restored:
        wait_for(lambda: not restored.value("SELECT pg_is_in_recovery()"), 60, "promotion")
        assert restored.sql("SELECT id FROM words ORDER BY id") == [(1,), (2,)]


def _restore(page: Page, visitor: Visitor, folder: Path) -> None:
    page.get_by_role("button", name="Restore here").click()
    dialog = page.get_by_role("dialog")
    go = dialog.get_by_role("button", name="Restore", exact=True)
    expect(go).to_be_disabled()
    dialog.get_by_label("New directory").fill(str(folder))
    expect(dialog.locator("code")).to_contain_text(str(folder))
    visitor.shoot("restore")
    dialog.get_by_label("Type main to go on").fill("main")
    go.click()
    job = page.get_by_role("group", name="Job")
    expect(job).to_contain_text("done")
    visitor.shoot("restored")


def test_what_cannot_be_reached_says_why(visit: Visit) -> None:
    visitor = visit()
    page = visitor.arrive("viewer", "/timeline?cluster=main", "Timeline")
    moment = page.get_by_role("region", name="Moment")
    field = moment.get_by_label("Moment")
    for typed, said in (
        ("2001-01-01 00:00", "cannot be reached"),
        ("<img src=x onerror=alert(1)>", "it is neither a known word nor an ISO 8601 time"),
    ):
        field.fill(typed)
        field.press("Enter")
        expect(moment).to_contain_text(said)
    assert moment.locator("img").count() == 0
    visitor.shoot("unreachable")


def test_roles_do_not_restore_who_may_only_look(visit: Visit) -> None:
    visitor = visit()
    page = visitor.arrive("viewer", "/timeline?cluster=main&to=immediate", "Timeline")
    for name in ("Restore here", "Open a sandbox here"):
        expect(page.get_by_role("button", name=name)).to_be_disabled()
    expect(page.get_by_text("It takes role restorer; you are viewer.").first).to_be_visible()


def test_the_timeline_is_moved_by_keys_and_buttons(visit: Visit) -> None:
    visitor = visit()
    page = visitor.arrive("viewer", "/timeline?cluster=main", "Timeline")
    chart = page.get_by_role("group", name="Timeline of main")
    expect(chart).to_have_attribute("data-view", re.compile(r"^\d+-\d+$"))
    whole = str(chart.get_attribute("data-view"))
    chart.focus()
    page.keyboard.press("+")
    expect(chart).not_to_have_attribute("data-view", whole)
    page.keyboard.press("0")
    expect(chart).to_have_attribute("data-view", whole)
    page.get_by_role("button", name="Zoom in").click()
    expect(chart).not_to_have_attribute("data-view", whole)


def test_a_sandbox_is_opened_and_says_how_to_look_into_it(visit: Visit, kept: Kept) -> None:
    visitor = visit()
    page = visitor.arrive("restorer", "/timeline?cluster=main&to=immediate", "Timeline")
    page.get_by_role("button", name="Open a sandbox here").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Type main to go on").fill("main")
    dialog.get_by_role("button", name="Open sandbox").click()
    job = page.get_by_role("group", name="Job")
    try:
        expect(job).to_contain_text("done", timeout=2 * PATIENCE_MS)
        psql = job.locator("code").last.text_content() or ""
        assert "psql" in psql
        visitor.shoot("sandbox")
    finally:
        kept.run("undo", "sandbox", "--stop").ok()


def test_a_job_that_runs_is_there_again_after_a_reload(visit: Visit, kept: Kept) -> None:
    visitor = visit()
    with kept.pg.connect() as holder:
        holder.execute("BEGIN; LOCK TABLE words IN ACCESS EXCLUSIVE MODE")  # a dump waits for it
        waits = ("dump", "create", "--database", "postgres", "--lock-wait", "1h")
        kept.run("jobs", "run", "--", *waits).ok()
        page = visitor.arrive("operator", "/backups?cluster=main", "Backups")
        job = page.get_by_role("group", name="Job").filter(has_text="dump create")
        expect(job).to_contain_text("running")
        page.reload()
        expect(job).to_contain_text("running")
        job.get_by_role("button", name="Cancel").click()
        expect(job).to_contain_text("cancelled")
        expect(job.get_by_role("button", name="Cancel")).to_have_count(0)


def test_a_log_in_that_ended_elsewhere_leads_back_to_the_page(visit: Visit) -> None:
    visitor = visit()
    page = visitor.arrive("viewer", "/jobs?cluster=main", "Jobs")
    other = visitor.context.new_page()
    other.goto(visitor.kept.address)
    other.get_by_role("button", name="Account").click()
    other.get_by_text("Log out").click()
    expect(page).to_have_url(re.compile(r"/login\?next=%2Fjobs"))
    visitor.log_in("viewer")
    expect(page).to_have_url(re.compile(r"/jobs\?cluster=main$"))


def test_a_job_is_listed_with_its_command_and_log(visit: Visit, kept: Kept) -> None:
    job = kept.run("jobs", "run", "--follow", "--json", "--", "verify").ok().json["job"]
    visitor = visit()
    page = visitor.arrive("viewer", "/jobs?cluster=main", "Jobs")
    listed = page.get_by_role("region", name="Jobs", exact=True)
    expect(listed).to_contain_text("verify")
    visitor.shoot("jobs")
    visitor.open(f"/jobs?cluster=main&job={job['id']}")
    chosen = page.get_by_role("region", name="Chosen job")
    expect(chosen).to_contain_text("done")
    expect(chosen.locator("code").first).to_have_text("pgkeep --cluster main verify")
    visitor.open("/jobs?cluster=main&job=nothing")
    expect(page.get_by_role("alert")).to_be_visible()
