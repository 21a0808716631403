"""A page in the browser: draw characters of your own, and five rules learn them, one by one.

    python -m experiments.play

The page is served on this machine alone, until the command is stopped. `--record FOLDER` plays a
scene in a browser without a window, and leaves a picture of it; `--tune` chooses the rates of the
learners, and says what they reach.
"""

from __future__ import annotations

import io
import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typing_extensions import Doc

from experiments.lab.settings import cli
from experiments.lab.settings.registry import ConfigError

PICTURE = "play.png"


@dataclass(frozen=True)
class Play:
    """Serve a page on which characters are drawn, learned online by five rules, and named."""

    port: Annotated[int, Doc("of the page; 0 for any free one")] = 7860
    browser: Annotated[bool, Doc("open the page in a browser")] = True
    record: Annotated[Path | None, Doc("play a scene, leave a picture in this folder, end")] = None
    measure: Annotated[bool, Doc("print how long learning and answering take, and end")] = False
    tune: Annotated[bool, Doc("choose the rates on validation characters, and end")] = False
    lifetimes: Annotated[int, Doc("of validation and of the test, with --tune")] = 40
    data: Annotated[Path | None, Doc("folder of data files; None: METAPLASTIC_DATA")] = None
    seed: Annotated[int, Doc("of initial weights and random feedback")] = 0
    debug: Annotated[bool, Doc("show where an error came from")] = False


def main(argv: Sequence[str]) -> None:
    config = cli.parse(Play, argv, Play())
    if not 0 <= config.port < 65536:
        raise ConfigError(f"--port {config.port} is none: give one from 0 to 65535.")
    import torch  # only loads once there is work to do

    torch.set_num_threads(1)  # networks this small are slower on more
    if config.tune:
        tune(config)
    elif config.measure:
        from experiments.lab.play.speed import measured

        print(measured(config.seed))
    elif config.record is not None:
        print(f"The picture is {record(config, config.record)}.")
    else:
        serve(config)


def serve(config: Play) -> None:
    """Serve the page until the command is stopped."""
    from experiments.lab.play.server import served

    with served(config.port, config.seed) as address:
        print(f"The page is at {address}; Ctrl-C ends it.", flush=True)
        if config.browser:
            webbrowser.open(address)
        threading.Event().wait()


def record(config: Play, folder: Path) -> Path:
    """Teach three characters with the mouse, two drawings of each, ask for a third; the picture."""
    from PIL import Image

    from experiments.lab.play.scene import CHARACTERS, ask, find_browser, opened, teach
    from experiments.lab.play.server import served

    if find_browser() is None:
        raise ConfigError("--record needs a browser, and no Chromium was found: install one.")
    folder.mkdir(parents=True, exist_ok=True)
    with served(0, config.seed) as address, opened(address) as page:
        for seed in range(2):
            for name in CHARACTERS:
                teach(page, name, seed)
                print(page.locator("#status").inner_text().split("\n")[-1])
        for name in CHARACTERS:
            said = ask(page, name, seed=2)
            print(f"A third {name}: " + ", ".join(f"{rule} says {n}" for rule, n in said.items()))
            if name != list(CHARACTERS)[-1]:
                page.click("#clear")
                page.wait_for_function("document.querySelector('.pad-hint').style.opacity == 1")
        page.mouse.move(0, 0)
        page.wait_for_timeout(300)
        image = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    image.convert("RGB").quantize(256).save(folder / PICTURE, optimize=True)
    return folder / PICTURE


def tune(config: Play) -> None:
    """Print the rates that are best on validation characters, and the accuracy on test ones."""
    from experiments.lab.figures.tables import as_markdown
    from experiments.lab.play.rates import tune
    from experiments.lab.runs.run_folder import origin

    rows = tune(config.data, config.seed, config.lifetimes)
    print(f"{origin('cpu')}\n\n{as_markdown(rows, order=())}")


if __name__ == "__main__":
    cli.run(main, again="the same command serves it again; what was not saved is gone.")
