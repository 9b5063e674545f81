"""A dropped table comes back, from the search to its rows, as somebody at a browser does it."""

import re
from collections.abc import Callable

from playwright.sync_api import expect

from support.browsing import PATIENCE_MS, Kept, Visitor

Visit = Callable[[], Visitor]
expect.set_options(timeout=PATIENCE_MS)
HOSTILE = "<img src=x onerror=alert(1)>"


def test_a_dropped_table_is_found_previewed_and_brought_back(visit: Visit, kept: Kept) -> None:
    kept.pg.sql("CREATE TABLE dropped (id int PRIMARY KEY, said text)")
    kept.pg.sql(f"INSERT INTO dropped SELECT n, '{HOSTILE}' FROM generate_series(1, 40) n")
    kept.run("census", "take").ok()
    kept.pg.sql("DROP TABLE dropped")
    visitor = visit()
    page = visitor.arrive("restorer", "/undo?cluster=main", "Undo")
    page.get_by_role("button", name="Look", exact=True).click()
    found = page.get_by_role("region", name="What was destroyed")
    found.get_by_role("button", name=re.compile("Choose drop table of .*dropped")).click()
    visitor.shoot("undo-found")
    chosen = page.get_by_role("region", name="Chosen event")
    expect(chosen.locator("code")).to_contain_text("--into-place --dry-run")
    chosen.get_by_role("button", name="Show what would come back").click()
    bring_back = page.get_by_role("button", name="Bring it back…")
    bring_back.wait_for(timeout=2 * PATIENCE_MS)
    expect(page.get_by_role("cell", name=HOSTILE).first).to_be_visible()
    assert page.locator("#content img").count() == 0
    visitor.shoot("undo-preview")
    bring_back.click()
    dialog = page.get_by_role("dialog")
    go = dialog.get_by_role("button", name="Bring it back", exact=True)
    expect(go).to_be_disabled()
    dialog.get_by_label("Type main to go on").fill("main")
    visitor.shoot("undo-dialog")
    go.click()
    job = page.get_by_role("group", name="Job").filter(has_text="--into-place --yes")
    expect(job).to_contain_text("Is back", timeout=2 * PATIENCE_MS)
    expect(job).to_contain_text("40 rows")
    expect(page.get_by_text("holds no more: show it again")).to_be_visible()
    expect(bring_back).to_have_count(0)
    visitor.shoot("undo-returned")
    assert kept.pg.sql("SELECT count(*), min(said) FROM dropped") == [(40, HOSTILE)]


def test_deleted_rows_come_back_by_a_condition(visit: Visit, kept: Kept) -> None:
    kept.pg.sql("CREATE TABLE thinned (id int PRIMARY KEY, said text)")
    kept.pg.sql(f"INSERT INTO thinned SELECT n, '{HOSTILE}' FROM generate_series(1, 40) n")
    kept.run("census", "take").ok()
    kept.pg.sql("DELETE FROM thinned WHERE id > 10")
    visitor = visit()
    page = visitor.arrive("admin", "/undo?cluster=main", "Undo")
    page.get_by_role("button", name="Look", exact=True).click()
    page.get_by_role("button", name=re.compile("Choose delete of .*thinned")).click()
    chosen = page.get_by_role("region", name="Chosen event")
    chosen.get_by_label("Only rows where (SQL)").fill("id < 13 AND said <> 'it''s'")
    expect(chosen.locator("code")).to_contain_text("undo rows postgres.public.thinned")
    expect(chosen.locator("code")).to_contain_text("id < 13 AND said")
    chosen.get_by_role("button", name="Show what would come back").click()
    page.get_by_role("button", name="Bring it back…").click(timeout=2 * PATIENCE_MS)
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Type main to go on").fill("main")
    dialog.get_by_role("button", name="Bring it back", exact=True).click()
    job = page.get_by_role("group", name="Job").filter(has_text="--yes")
    expect(job).to_contain_text("Is back", timeout=2 * PATIENCE_MS)
    assert kept.pg.sql("SELECT count(*), max(id) FROM thinned") == [(12, 12)]
    _sees_how_it_went_and_no_rows(visit())


def _sees_how_it_went_and_no_rows(operator: Visitor) -> None:
    page = operator.arrive("operator", "/jobs?cluster=main", "Jobs")
    page.get_by_role("link", name="undo-rows").first.click()
    chosen = page.get_by_role("region", name="Chosen job")
    expect(chosen).to_contain_text("done")
    expect(chosen.get_by_role("log")).to_contain_text("it takes role restorer")
    expect(chosen.get_by_role("button", name="Cancel")).to_have_count(0)


def test_a_viewer_does_not_look_for_accidents(visit: Visit) -> None:
    visitor = visit()
    page = visitor.arrive("viewer", "/undo?cluster=main", "Undo")
    expect(page.get_by_text("This page takes role operator, and viewer is viewer.")).to_be_visible()
    expect(page.get_by_role("button", name="Look", exact=True)).to_have_count(0)
