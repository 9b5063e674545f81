"""Open pages and who may act on them: a real service, spoken to as the page's script does."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from pgkeep.api.rights import Role
from pgkeep.api.users import Users
from support.apis import PASSWORD, serve
from support.service import Service

_SOCKETS = "/_nicegui_ws/socket.io/"
_REFUSED = "44"  # of socket.io's protocol: the server wants no connection


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("sockets")
    served = serve(folder)
    served.board.close()
    for role in Role:
        served.users.add(role.value, role, PASSWORD)
    found = Service(folder / "pgkeep.toml", folder / "state").start(page=True)
    yield found
    found.stop()


Open = Callable[..., "Browser"]


@pytest.fixture
def browse(service: Service) -> Iterator[Open]:
    """Opens browsers, of who has logged in or of nobody."""
    with ExitStack() as stack:

        def opened(name: str = "", headers: Any = None) -> Browser:
            browser = Browser(service, name, headers)
            stack.callback(browser.client.close)
            return browser

        yield opened


class Browser:
    """Somebody's browser without a screen."""

    def __init__(self, service: Service, name: str, headers: Any) -> None:
        self.client = httpx.Client(base_url=service.address, headers=headers, timeout=60)
        if name:
            body = {"name": name, "password": PASSWORD}
            self.client.post("/api/session", json=body).raise_for_status()

    def open(self, path: str) -> str:
        """Open a page and return its id, as it stands in the page's script."""
        text = self.client.get(path).raise_for_status().text
        found = re.search(
            r"'client_id': '([0-9a-f-]{36})'|\"client_id\": ?\"([0-9a-f-]{36})\"", text
        )
        assert found is not None, text[-2000:]
        return found[1] or found[2]

    def connect(self, page: str) -> "Socket | None":
        """Connect to an open page; None: it is refused."""
        query = {"EIO": "4", "transport": "polling", "client_id": page, "tab_id": "tab"}
        more = {"implicit_handshake": "true", "document_id": "document", "next_message_id": "0"}
        opened = self.client.get(_SOCKETS, params={**query, **more})
        if opened.status_code != 200:
            return None
        socket = Socket(self.client, {**query, "sid": json.loads(opened.text[1:])["sid"]})
        socket.send("40")
        return None if socket.hear().startswith(_REFUSED) else socket


class Socket:
    """One connection, by socket.io's polling."""

    def __init__(self, client: httpx.Client, query: dict[str, str]) -> None:
        self.client = client
        self._query = query

    def send(self, text: str) -> None:
        self.client.post(_SOCKETS, params=self._query, content=text).raise_for_status()

    def hear(self) -> str:
        return self.client.get(_SOCKETS, params=self._query).raise_for_status().text

    def hears(self, words: str) -> bool:
        """Wait for words, until the server has nothing more to say than that it is there."""
        said = ""
        while words not in said and said != "2":
            said = self.hear()
        return words in said


def event(page: str) -> str:
    act = {"client_id": page, "id": 1, "listener_id": "none", "args": []}
    return "42" + json.dumps(["event", act])


def test_nobody_opens_a_socket(browse: Open) -> None:
    page = browse("admin").open("/settings")
    assert browse().connect(page) is None
    for name in ("", "pgkeep=forged", "__Host-pgkeep=forged", 'pgkeep="'):
        assert browse(headers={"cookie": name}).connect(page) is None
    token = {"authorization": "Bearer pgkeep_00000000_forged"}
    assert browse(headers=token).connect(page) is None


def test_a_page_is_for_whoever_has_opened_it(browse: Open) -> None:
    admin, viewer = browse("admin"), browse("viewer")
    page = admin.open("/settings")
    assert viewer.connect(page) is None, "an id that was seen somewhere opens nothing"
    assert browse("admin").connect(page) is None, "nor for another log-in"
    assert viewer.connect("0" * 36) is None
    assert viewer.connect(viewer.open("/adviser")) is not None
    assert admin.connect(page) is not None


def test_another_site_connects_to_no_page(browse: Open) -> None:
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "same-site"}):
        browser = browse("viewer")
        page = browser.open("/adviser")
        socket = browser.connect(page)
        assert socket is not None
        browser.client.headers.update(headers)
        with pytest.raises(httpx.HTTPStatusError, match="403"):
            socket.send(event(page))


@pytest.mark.parametrize("change", ["password", "role", "removed"])
def test_an_open_page_ends_with_the_log_in(service: Service, browse: Open, change: str) -> None:
    users, name = Users(str(service.state)), f"leaving-{change}"
    users.add(name, Role.ADMIN, PASSWORD)
    browser = browse(name)
    page = browser.open("/settings")
    socket = browser.connect(page)
    assert socket is not None
    if change == "password":
        users.set_password(name, f"{PASSWORD} 2")
    elif change == "role":
        users.set_role(name, Role.VIEWER)
    else:
        users.remove(name)
    # The socket was let in before: what comes on it now is the page's own to refuse.
    browser.client.cookies.clear()
    login = browse("viewer")
    socket.client = login.client
    socket.send(event(page))
    assert socket.hears('"open",{"path":"/login"')


def test_what_a_browser_says_is_not_logged(service: Service, browse: Open) -> None:
    browser = browse("viewer")
    page = browser.open("/adviser")
    socket = browser.connect(page)
    assert socket is not None
    message = {"client_id": page, "level": "error", "message": "x\nforged: all is well"}
    socket.send("42" + json.dumps(["log", message]))
    socket.send("42" + json.dumps(["nothing", 1]))
    browser.open("/adviser")  # answered after what was said before
    assert "forged" not in service.said


def test_nobody_is_shown_anything_but_the_way_in(service: Service) -> None:
    with httpx.Client(base_url=service.address, timeout=60) as nobody:
        text = nobody.get("/login").raise_for_status().text
        assert "client_id" not in text, "the framework has begun nothing for it"
        assert 'data-next="/x?&quot;&gt;&lt;b&gt;"' in nobody.get('/login?next=/x?"><b>').text
        asked = ("/", "/timeline", "/nothing", "/_nicegui/", _SOCKETS, "/login/x")
        for path in asked:
            assert nobody.get(path).status_code in (401, 404), path
            led = nobody.get(path, headers={"accept": "text/html"})
            assert led.status_code in (303, 404), path
        assert nobody.post("/login").status_code == 401
