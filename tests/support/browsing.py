"""A real service with its page, over a real small cluster, and a real browser that looks at it."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from pgkeep.api.rights import Role
from pgkeep.api.users import Users
from pgkeep.server.scratch import ScratchCluster
from support.command import PGKEEP, Result, archive_settings, run_pgkeep
from support.service import config_text
from support.wait import wait_for

CHROMIUM: Final = "/usr/bin/chromium"
SCREENSHOTS: Final = Path(__file__).parents[2] / "build" / "screenshots"
PASSWORD: Final = "correct horse battery"
PATIENCE_MS: Final = 30_000  # of the browser, on a loaded machine
_ADDRESS: Final = re.compile(r"the page and /api are at (http://\S+)")


class Kept:
    """A cluster that archives, its repository, and the service with users of every role."""

    def __init__(self, pg: ScratchCluster, folder: Path) -> None:
        self.pg = pg
        self.folder = folder
        self.config = folder / "pgkeep.toml"
        self.restores = folder / "restored"
        self.address = ""
        self._log = folder / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {"XDG_STATE_HOME": str(folder / "found")}

    def run(self, *words: str | Path) -> Result:
        return run_pgkeep(*words, config=self.config, env=self._environment)

    def prepare(self) -> None:
        """Make the repository, a backup, and a user of each role, called as the role."""
        self.restores.mkdir()
        state = self.folder / "state"
        boxes = f'[sandbox]\ndirectory = "{self.folder}/boxes"\n'
        more = f'restore_directories = ["{self.restores}"]\n{boxes}'
        text = config_text(self.folder / "repository", state, {"main": self.pg.conninfo}, more)
        self.config.write_text(text)
        self.pg.configure(**archive_settings(self.config))
        self.pg.start()
        self.run("init").ok()
        state.mkdir(mode=0o700, exist_ok=True)
        users = Users(str(state))
        for role in Role:
            users.add(role.value, role, PASSWORD)

    def serve(self) -> None:
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [PGKEEP, "--config", self.config, "serve", "--listen", "127.0.0.1:0"],
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                cwd=self.folder,
            )
        found = wait_for(lambda: _ADDRESS.search(self.said) or self._has_ended, 60, self.said)
        assert isinstance(found, re.Match), self.said
        self.address = found[1].rstrip("/")

    @property
    def said(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def _has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def stop(self) -> None:
        if self._process is None or self._has_ended:
            return
        self._process.send_signal(SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.send_signal(SIGKILL)
            self._process.wait()


def require_chromium() -> None:
    """Skip the test without Debian's Chromium, but fail where CI runs."""
    if not os.path.exists(CHROMIUM):
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must test the page: {CHROMIUM} is missing")
        pytest.skip(f"NOT TESTED: the page, for {CHROMIUM} is missing; apt-get install chromium")


@contextmanager
def browser_running() -> Iterator[Browser]:
    """Start the browser. While it is there, an event loop runs in this thread: no other can."""
    require_chromium()
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


class Visitor:
    """Somebody at a browser; whatever it asks another host for, or complains of, is a failure."""

    def __init__(self, browser: Browser, kept: Kept, *, width: int = 1280) -> None:
        self.kept = kept
        self.troubles: list[str] = []
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": 860}, timezone_id="Europe/Amsterdam"
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.page.on("request", lambda request: self._check(request.url))
        self.page.on("websocket", lambda socket: self._check(socket.url))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))

    def _check(self, url: str) -> None:
        own = (self.kept.address, self.kept.address.replace("http", "ws", 1), "data:", "blob:")
        if not url.startswith(own):
            self.troubles.append(f"it asked for {url}")

    def open(self, path: str) -> Page:
        self.page.goto(self.kept.address + path)
        return self.page

    def log_in(self, name: str, password: str = PASSWORD) -> Page:
        page = self.page
        if "/login" not in page.url:
            self.open("/login")
        page.get_by_label("User").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        return page

    def arrive(self, name: str, path: str, title: str) -> Page:
        """Log in and go to a page."""
        self.open(path)
        page = self.log_in(name)
        page.get_by_role("heading", name=title, exact=True).wait_for()
        return page

    def shoot(self, name: str) -> None:
        """Keep pictures of the page as it is: light, dark, and on a phone."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for mode, width, theme in (
            ("light", 1280, "light"),
            ("dark", 1280, "dark"),
            ("phone", 390, "light"),
        ):
            self.page.set_viewport_size({"width": width, "height": 860})
            self.page.evaluate(
                "theme => { localStorage.setItem('pgkeep-theme', theme); pgkeep.apply(); }", theme
            )
            self.page.wait_for_function(
                "() => !document.getAnimations().some((a) => a.playState === 'running' "
                "&& a.effect.getComputedTiming().iterations !== Infinity)"
            )
            self.page.evaluate("() => window.scrollTo(0, 0)")
            picture = SCREENSHOTS / f"{name}-{mode}.png"
            self.page.screenshot(path=picture, full_page=True)
        self.page.set_viewport_size({"width": 1280, "height": 860})

    def leave(self) -> None:
        """Close the browser's window; fail if anything was wrong behind the page."""
        self.context.close()
        assert self.troubles == []
