"""One service for all tests of the page that a worker runs, and a browser for each module."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from pgkeep.server.scratch import ScratchCluster
from support.browsing import Kept, Visitor, browser_running, require_chromium
from support.clusters import require_binaries


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Gone before a test of another module comes, which may want an event loop of its own."""
    with browser_running() as found:
        yield found


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A service over a cluster with a backup; tests may add to it, and rely on nothing they add."""
    require_chromium()
    folder = tmp_path_factory.mktemp("kept")
    pg = ScratchCluster(require_binaries(18), folder / "main", wal_segsize=1)
    found = Kept(pg, folder)
    try:
        pg.create()
        found.prepare()
        pg.sql("CREATE TABLE words (id int PRIMARY KEY, said text)")
        pg.sql("INSERT INTO words VALUES (1, 'kept')")
        found.run("backup").ok()
        found.serve()
        yield found
    finally:
        found.stop()
        pg.destroy()


@pytest.fixture
def visit(browser: Browser, kept: Kept) -> Iterator[Callable[[], Visitor]]:
    """Opens a new window without a log-in."""
    made: list[Visitor] = []

    def open_window() -> Visitor:
        made.append(Visitor(browser, kept))
        return made[-1]

    yield open_window
    for visitor in made:
        visitor.leave()


@pytest.fixture
def new_folder(kept: Kept, request: pytest.FixtureRequest) -> Path:
    """A name below the folder that may be restored into; nothing is there yet."""
    name: str = request.node.name
    return kept.restores / name
