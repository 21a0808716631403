"""The page itself: in Chromium, with the mouse; and its server, sent what it cannot serve."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from experiments.lab.play.learners import CHOICES
from experiments.lab.play.scene import CHARACTERS, ask, draw, find_browser, opened, teach
from experiments.lab.play.tabs import Tabs
from tests.experiments.play.drawings import TENT

pytestmark = [
    pytest.mark.slow,  # gradio alone takes seconds to be imported
    pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed: extra play"),
    # Of gradio's own packages.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
in_browser = pytest.mark.skipif(
    find_browser() is None or find_spec("playwright") is None,
    reason="there is no Chromium, or no playwright to drive one",
)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Tabs]]:
    from experiments.lab.play.server import served

    tabs = Tabs()
    with served(tabs=tabs) as address:
        yield address, tabs


def posted(url: str, content: bytes, **headers: str) -> tuple[int, str]:
    """The status and the text of a reply."""
    request = urllib.request.Request(
        url, content, {"Content-Type": "application/json", **headers}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def call(address: str, name: str, *data: Any) -> str:
    """What the page's interface for programs answers."""
    status, text = posted(f"{address}gradio_api/call/{name}", json.dumps({"data": data}).encode())
    assert status == 200, text
    event = json.loads(text)["event_id"]
    with urllib.request.urlopen(f"{address}gradio_api/call/{name}/{event}", timeout=60) as reply:
        return str(reply.read().decode())


def choose(page: Any, file: Path) -> None:
    with page.expect_file_chooser() as waiting:
        page.click("#load")
    waiting.value.set_files(file)


@in_browser
def test_three_characters_are_drawn_with_the_mouse_taught_and_named(
    served: tuple[str, Tabs], tmp_path: Path
) -> None:
    address, tabs = served
    with opened(address) as page:
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        for name in CHARACTERS:
            teach(page, name)
        for name in CHARACTERS:
            assert ask(page, name, seed=5)["readout"] == name
            page.click("#clear")
            page.wait_for_function("document.querySelector('.pad-hint').style.opacity == 1")
        assert page.locator("#matrix table").count() == len(CHOICES)
        assert page.locator("#matrix table").first.locator("tbody tr").count() == 3
        assert "Learned in" in page.locator("#times").inner_text()
        assert [u for u in requested if not u.startswith((address, "data:", "blob:"))] == []
        # Of two rules alone.
        page.get_by_label("Discovered rule").uncheck()
        page.get_by_label("Random feedback").uncheck()
        page.wait_for_function("document.querySelectorAll('#matrix table').length == 3")
        # Saved, forgotten, loaded.
        with page.expect_download() as waiting:
            page.click("#save")
        saved = tmp_path / "characters.safetensors"
        waiting.value.save_as(saved)
        page.click("#reset")
        page.wait_for_selector("#gallery img", state="detached")
        choose(page, saved)
        page.wait_for_function("document.querySelectorAll('#gallery img').length == 3")
        # A damaged file, and no drawing: a sentence, and what was learned stays.
        saved.write_bytes(saved.read_bytes()[:-1])
        choose(page, saved)
        page.wait_for_selector("#status .error")
        assert "is not a saved page, or it is damaged" in page.locator("#status").inner_text()
        page.click("#clear")
        page.click("#teach")
        page.wait_for_function("document.querySelector('#status').innerText.includes('no drawing')")
        assert page.locator("#gallery img").count() == 3
        # Another tab has nothing of this one.
        other = page.context.new_page()
        other.goto(address)
        other.wait_for_selector("#pad canvas")
        assert other.locator("#gallery img").count() == 0
        draw(other, CHARACTERS["fish"])
        other.fill("#name input, #name textarea", "its own")
        other.keyboard.press("Enter")
        other.wait_for_selector("#gallery img")
        assert page.locator("#gallery img").count() == 3
        there = len(tabs.sessions)
        other.close()
        for _ in range(100):
            if len(tabs.sessions) < there:
                break
            time.sleep(0.1)
        assert len(tabs.sessions) == there - 1
        assert ask(page, "house", seed=6)["readout"] == "house"


def test_a_request_that_is_too_large_is_refused_and_the_page_goes_on(
    served: tuple[str, Tabs],
) -> None:
    address, _ = served
    status, text = posted(f"{address}gradio_api/call/ask", b"x" * 9_000_000)
    assert (status, text) == (413, "This request has 9000000 bytes; 8100000 are read.")
    status, text = posted(f"{address}gradio_api/upload", b"x" * 9_000_000)
    assert status == 413
    assert "no drawing yet" in call(address, "ask", "", [])


def test_the_length_of_a_request_must_be_told(served: tuple[str, Tabs]) -> None:
    import http.client

    address, _ = served
    host = address.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("POST", "/gradio_api/call/ask", iter([b"x"] * 3), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    reply = connection.getresponse()
    assert reply.status == 411
    assert b"Content-Length" in reply.read()
    connection.close()


@pytest.mark.parametrize(
    ("drawing", "said"),
    [
        (json.dumps([[[1, 1]] * 30_000]), "30,000 points"),
        ("[[[1,1]]]" + " " * 2_000_000, "are read"),
        ({"not": "text"}, "no drawing yet"),
        (7, "no drawing yet"),
        ("<svg>", "is not a drawing"),
    ],
)
def test_what_is_no_drawing_is_answered_by_a_sentence(
    served: tuple[str, Tabs], drawing: object, said: str
) -> None:
    assert said in call(served[0], "teach", drawing, "x", ["SGD"])


def test_many_requests_at_once_are_all_answered(served: tuple[str, Tabs]) -> None:
    address, _ = served
    with ThreadPoolExecutor(16) as pool:
        replies = list(
            pool.map(lambda n: call(address, "teach", TENT, f"n{n % 5}", ["SGD"]), range(32))
        )
    assert all("Learned" in reply for reply in replies)
    assert threading.active_count() < 200


def test_the_browser_is_told_to_ask_nobody_else(served: tuple[str, Tabs]) -> None:
    with urllib.request.urlopen(served[0], timeout=60) as reply:
        assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
        text = reply.read().decode()
    assert "fonts.googleapis.com/css" not in text
