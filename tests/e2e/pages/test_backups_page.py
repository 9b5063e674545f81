"""Backups, drills and deletions, as somebody at a browser makes them."""

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from support.browsing import PATIENCE_MS, Kept, Visitor

Visit = Callable[[], Visitor]
expect.set_options(timeout=PATIENCE_MS)


def test_a_drill_is_watched_live_and_proves_the_backup(visit: Visit, kept: Kept) -> None:
    backup = kept.run("backup", "--json").ok().json["id"]
    visitor = visit()
    page = visitor.arrive("operator", "/backups?cluster=main", "Backups")
    page.get_by_role("button", name=f"Drill {backup}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("code")).to_have_text(f"pgkeep --cluster main drill {backup}")
    dialog.get_by_role("button", name="Drill", exact=True).click()
    job = page.get_by_role("group", name="Job")
    expect(job.get_by_role("log")).to_contain_text("restoring files", timeout=2 * PATIENCE_MS)
    expect(job).to_contain_text("done", timeout=4 * PATIENCE_MS)
    visitor.shoot("drill")
    backups = page.get_by_role("region", name="Backups")
    expect(backups).to_contain_text("drill passed")
    assert kept.run("drill", "--list", "--json").ok().json["drills"][0]["of"] == backup


def test_a_deletion_says_what_is_lost_and_wants_the_name_typed(visit: Visit, kept: Kept) -> None:
    backup = kept.run("backup", "--json").ok().json["id"]
    kept.run("backup").ok()  # the last one is never deleted
    visitor = visit()
    page = visitor.arrive("admin", "/backups?cluster=main", "Backups")
    page.get_by_role("button", name=f"Delete… {backup}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Frees")
    go = dialog.get_by_role("button", name="Delete", exact=True)
    expect(go).to_be_disabled()
    typed = dialog.get_by_label("Type main to go on")
    typed.fill("mane")
    expect(go).to_be_disabled()
    visitor.shoot("delete")
    assert backup in _ids(kept)
    typed.fill("main")
    go.click()
    expect(_jobs(page)).to_contain_text("done")
    expect(page.get_by_role("button", name=f"Delete… {backup}")).to_have_count(0)
    assert backup not in _ids(kept)


def test_a_dump_is_made_and_shows_what_is_in_it(visit: Visit, kept: Kept) -> None:
    visitor = visit()
    page = visitor.arrive("operator", "/backups?cluster=main", "Backups")
    page.get_by_role("button", name="Dump now…").click()
    page.get_by_role("dialog").get_by_role("button", name="Dump", exact=True).click()
    expect(_jobs(page)).to_contain_text("done", timeout=2 * PATIENCE_MS)
    dumps = page.get_by_role("region", name="Dumps")
    dumps.get_by_role("button", name="What is in it").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("cell", name="public.words")).to_be_visible()
    visitor.shoot("dump")


def test_a_viewer_sees_backups_and_is_offered_nothing_else(visit: Visit) -> None:
    visitor = visit()
    page = visitor.arrive("viewer", "/backups?cluster=main", "Backups")
    expect(page.get_by_role("region", name="Backups")).to_contain_text("Full backup")
    for name in ("Back up now…", "Drill", "Delete…", "Pin"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    visitor.shoot("backups")


def _jobs(page: Page) -> Locator:
    return page.get_by_role("region", name="What was started").get_by_role("group", name="Job")


def _ids(kept: Kept) -> list[str]:
    return [one["id"] for one in kept.run("list", "--json").ok().json["backups"]]
