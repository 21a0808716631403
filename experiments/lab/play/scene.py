"""The page in a browser: characters drawn with the mouse, for the recording and the tests."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from experiments.lab.settings.registry import ConfigError

if TYPE_CHECKING:
    from playwright.sync_api import Page

Points = Sequence[tuple[float, float]]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Without a graphics card, without a sandbox (which root has not), and without calls home.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
WAIT = 120_000  # milliseconds: a machine may have other work


def arc(x: float, y: float, r: float, start: float, end: float, steps: int = 14) -> Points:
    """Points along a circle, in units of the pad, from one angle to another (of 1 turn)."""
    turns = [start + (end - start) * i / steps for i in range(steps + 1)]
    return [(x + r * math.cos(math.tau * t), y + r * math.sin(math.tau * t)) for t in turns]


CHARACTERS: dict[str, list[Points]] = {
    "house": [
        [(0.2, 0.5), (0.5, 0.2), (0.8, 0.5)],
        [(0.28, 0.45), (0.28, 0.8), (0.72, 0.8), (0.72, 0.45)],
    ],
    "fish": [
        [*arc(0.45, 0.5, 0.22, 0, 1)],
        [(0.66, 0.5), (0.86, 0.34), (0.86, 0.66), (0.66, 0.5)],
    ],
    "zeta": [
        [(0.25, 0.25), (0.72, 0.25), (0.3, 0.72), (0.76, 0.72)],
        [(0.36, 0.5), (0.64, 0.5)],
    ],
}


def find_browser() -> str | None:
    """The path of a Chromium on this machine, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def opened(address: str, width: int = 1280, height: int = 1100) -> Iterator[Page]:
    """A page of a headless Chromium at this address.

    Raises:
        ConfigError: where playwright or a browser is missing.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise ConfigError(
            "playing the scene needs playwright, which is not installed: `pip install playwright`."
        ) from error
    path = find_browser()
    if path is None:
        raise ConfigError(
            f"playing the scene needs a browser, one of {', '.join(BROWSERS)}: install Chromium."
        )
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        try:
            context = browser.new_context(viewport={"width": width, "height": height})
            page = context.new_page()
            page.set_default_timeout(WAIT)
            page.goto(address)
            page.wait_for_selector("#pad canvas")
            yield page
        finally:
            browser.close()


def draw(page: Page, strokes: Sequence[Points], seed: int = 0) -> None:
    """Draw strokes on the pad with the mouse, a little differently for each seed."""
    pad = page.locator("#pad canvas")
    pad.hover()  # waits until the page has stopped moving it
    box = pad.bounding_box()
    assert box is not None
    hand = random.Random(seed)
    size, turn = 1 + hand.uniform(-0.1, 0.1), hand.uniform(-0.08, 0.08)
    for stroke in strokes:
        for number, (x, y) in enumerate(stroke):
            u, v = size * (x - 0.5), size * (y - 0.5)
            u, v = u * math.cos(turn) - v * math.sin(turn), u * math.sin(turn) + v * math.cos(turn)
            shake = 0.008
            at = [0.5 + w + hand.uniform(-shake, shake) for w in (u, v)]
            page.mouse.move(box["x"] + at[0] * box["width"], box["y"] + at[1] * box["height"],
                            steps=4)  # fmt: skip
            if number == 0:
                page.mouse.down()
        page.mouse.up()


def teach(page: Page, name: str, seed: int = 0) -> None:
    """Draw a character of `CHARACTERS`, name it, and wait until it was learned."""
    before = page.locator("#gallery img").count()
    draw(page, CHARACTERS[name], seed)
    page.fill("#name input, #name textarea", name)
    page.click("#teach")
    page.wait_for_function(f"document.querySelectorAll('#gallery img').length > {before}")
    page.wait_for_function("!document.querySelector('#name input, #name textarea').value")


def says(page: Page) -> dict[str, str]:
    """By rule: the name that the page shows for the last drawing."""
    cards = page.locator("#answers .card").all()
    found = {}
    for card in cards:
        name = card.locator(".says b")
        if name.count():
            found[str(card.get_attribute("data-rule"))] = name.inner_text()
    return found


def ask(page: Page, name: str, seed: int) -> dict[str, str]:
    """Draw a character, wait for the answers, clear the pad; the answers."""
    draw(page, CHARACTERS[name], seed)
    page.evaluate("document.querySelector('#status p').innerText = ''")
    page.click("#ask")
    page.wait_for_function(
        "document.querySelector('#status').innerText.includes('The readout says')"
    )
    return says(page)
