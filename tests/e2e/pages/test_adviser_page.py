"""From sliders to a config that works, as somebody at a browser gets there."""

import json
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from pgkeep.server.scratch import ScratchCluster
from support.browsing import PATIENCE_MS, Kept, Visitor
from support.clusters import only
from support.command import run_pgkeep

Visit = Callable[[], Visitor]
expect.set_options(timeout=PATIENCE_MS)


@only(18)
def test_a_downloaded_config_is_accepted_by_check(
    visit: Visit, kept: Kept, pg: ScratchCluster, tmp_path: Path
) -> None:
    visitor = visit()
    page = visitor.arrive("admin", "/adviser?cluster=main", "Adviser")
    plans = page.get_by_role("region", name="Plans")
    expect(plans).to_contain_text("recommended")
    config = page.get_by_role("region", name="pgkeep.toml")
    size = page.get_by_role("slider", name="Size of the cluster")
    size.press("End")
    expect(config).to_contain_text("For 100 TiB and")
    visitor.shoot("adviser-large")
    size.press("Home")
    size.press("ArrowRight")
    expect(config).to_contain_text("For 2 GiB and")
    expect(size).to_have_value("1")
    assert "offsite" in str(config.text_content())
    page.get_by_role("switch", name="A copy in another place").click()
    expect(config).not_to_contain_text('name = "offsite"')
    visitor.shoot("adviser")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download pgkeep.toml").click()
    text = Path(waiting.value.path()).read_text()
    assert text == config.text_content()
    # It is of the cluster that was chosen; it must hold for one that is new as well.
    repository = tmp_path / "repository"
    assert json.dumps(kept.pg.conninfo) in text
    text = text.replace(json.dumps(kept.pg.conninfo), json.dumps(pg.conninfo))
    text = text.replace(str(kept.folder / "repository"), str(repository))
    file = tmp_path / "pgkeep.toml"
    file.write_text(text)
    run_pgkeep("init", "--apply", config=file).ok()
    pg.restart()
    checked = run_pgkeep("check", config=file)
    assert checked.exit == 0, checked.stdout
    assert (repository / "pgkeep.json").exists()


def test_a_viewer_may_ask_for_advice_and_sees_no_addresses(visit: Visit, kept: Kept) -> None:
    visitor = visit()
    page = visitor.arrive("viewer", "/adviser?cluster=main", "Adviser")
    config = page.get_by_role("region", name="pgkeep.toml")
    expect(config).to_contain_text("[clusters.main]")
    expect(config).not_to_contain_text(str(kept.folder))
    page.get_by_role("button", name="Show its config").first.click()
    expect(page.get_by_role("button", name="Its config is below")).to_be_disabled()
