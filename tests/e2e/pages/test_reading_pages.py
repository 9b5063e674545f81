"""Checklist, storage and settings, as somebody at a browser reads them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

from playwright.sync_api import expect

from pgkeep.app import App
from pgkeep.health.forecast import Sample
from pgkeep.server.scratch import ScratchCluster
from pgkeep.service.jobs.ledger import Ledger
from pgkeep.web.frame import PAGES
from pgkeep.web.pages.settings import with_servers
from pgkeep.web.rows import options
from support.browsing import PATIENCE_MS, Kept, Visitor
from support.clusters import require_binaries
from support.command import write_config
from support.service import config_text

Visit = Callable[[], Visitor]
expect.set_options(timeout=PATIENCE_MS)


def test_the_checklist_shows_proof_and_is_put_on_record(visit: Visit, kept: Kept) -> None:
    visitor = visit()
    page = visitor.arrive("operator", "/checklist?cluster=main", "Checklist")
    rows = page.get_by_role("region", name="Checklist")
    expect(rows).to_contain_text("Proof")
    newest = kept.run("list", "--json").ok().json["backups"][-1]["id"]
    expect(rows).to_contain_text(f"backup {newest}")
    visitor.shoot("checklist")
    page.get_by_role("button", name="Put it on record…").click()
    page.get_by_role("dialog").get_by_role("button", name="Put on record", exact=True).click()
    expect(page.get_by_role("group", name="Job")).to_contain_text("On record")


def test_storage_shows_what_was_stored_when_and_what_it_costs(visit: Visit, kept: Kept) -> None:
    visitor = visit()
    page = visitor.arrive("viewer", "/storage?cluster=main", "Storage")
    over_time = page.get_by_role("region", name="Over time")
    expect(over_time).to_contain_text("Grows by")
    expect(over_time.locator("svg.pk-curve")).to_be_visible()
    expect(page.get_by_role("region", name="Cost of")).to_contain_text("Costs a month")
    ledger = Ledger(kept.folder / "state")
    for days in range(20):
        at = (datetime.now(UTC) - timedelta(days=days + 1)).timestamp()
        sample = Sample(at, 4 << 20 if days % 7 else 6 << 20, None)
        ledger.add_size("main", str(kept.folder / "repository"), sample)
    ledger.close()
    page.reload()
    expect(over_time).to_contain_text("As the service has weighed it")
    expect(over_time.locator("svg.pk-curve")).to_be_visible()
    visitor.shoot("storage")


def test_settings_tell_value_and_origin_and_no_secret(visit: Visit, kept: Kept) -> None:
    visitor = visit()
    page = visitor.arrive("admin", "/settings?cluster=main", "Settings")
    cluster = page.get_by_role("region", name="[clusters.main]", exact=True)
    lines = kept.config.read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if line.startswith("conninfo"))
    expect(cluster).to_contain_text(f"line {number}")
    expect(cluster).to_contain_text(f"port={kept.pg.port}")
    visitor.shoot("settings")
    retention = page.get_by_role("region", name="[clusters.main.retention]")
    expect(retention).to_be_hidden()
    page.get_by_role("switch", name="Defaults too").click()
    expect(retention).to_contain_text("default")
    expect(page.get_by_role("region", name="Users")).to_contain_text("restorer")


def test_settings_show_servers_without_their_passwords(tmp_path: Path) -> None:
    conninfo = "host=db1 user=keeper password=never-shown"
    file = write_config(tmp_path / "pgkeep.toml", tmp_path / "repository", {"main": conninfo})
    loaded = App(str(file)).loaded
    found = options.rows(loaded.config, loaded.table, file.read_text())
    shown = " ".join(row.value for row in with_servers(found, loaded.config.clusters))
    assert "host=db1" in shown
    assert "user=keeper" in shown
    assert "never-shown" not in shown


def test_no_page_breaks_before_there_is_a_cluster(tmp_path: Path) -> None:
    fresh = Kept(ScratchCluster(require_binaries(18), tmp_path / "main"), tmp_path)
    fresh.config.write_text(config_text(tmp_path / "repository", tmp_path / "state", {}))
    fresh.serve()
    try:
        for path, _, _ in PAGES:
            with urlopen(fresh.address + path) as answer:  # fails on 500
                said = answer.read().decode()
            needs_one = path not in ("/", "/adviser", "/jobs", "/settings", "/undo")
            assert not needs_one or "The config describes no cluster yet" in said, path
    finally:
        fresh.stop()


def test_settings_are_for_admins(visit: Visit) -> None:
    visitor = visit()
    page = visitor.arrive("restorer", "/settings?cluster=main", "Settings")
    said = "This page takes role admin, and restorer is restorer."
    expect(page.get_by_text(said)).to_be_visible()
    expect(page.get_by_role("region")).to_have_count(0)
