"""The page served on this machine alone: no analytics, no fonts or scripts from elsewhere."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from experiments.lab.play.session_file import LARGEST
from experiments.lab.play.tabs import Tabs
from experiments.lab.settings.registry import ConfigError

Message = dict[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
               Awaitable[None]]  # fmt: skip
BODY = LARGEST + 100_000  # bytes of a request, the frame of a form included
DROPPED = 100 * BODY  # bytes of a refused request that are waited for
# A browser asks nobody but this server, whatever a version of gradio names in its page.
POLICY = (
    b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' data: blob: "
    b"ws: wss:"
)

LIGHT = "() => document.body.classList.remove('dark')"  # the colors of the page are those of day


class Guard:
    """Refuses requests that are too large before they are read, and tells the browser `POLICY`."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if b"chunked" in headers.get(b"transfer-encoding", b""):
            return await refuse(
                receive, send, 411, "Send the length of what you send, in Content-Length."
            )
        if not length.isdigit() or int(length) > BODY:
            return await refuse(
                receive,
                send,
                413,
                f"This request has {length.decode('latin-1')} bytes; {BODY} are read.",
            )

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = (b"content-security-policy", POLICY)
                message = {**message, "headers": [*message.get("headers", []), added]}
            await send(message)

        await self.app(scope, receive, guarded)
        return None


async def refuse(
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
    status: int,
    sentence: str,
) -> None:
    """Answer by a sentence, after letting go of what is sent: most clients listen only then."""
    dropped, more = 0, True
    while more and dropped < DROPPED:
        message = await receive()
        dropped += len(message.get("body", b""))
        more = bool(message.get("more_body", False))
    content = (b"content-type", b"text/plain; charset=utf-8")
    await send({"type": "http.response.start", "status": status,
                "headers": [content, (b"connection", b"close")]})  # fmt: skip
    await send({"type": "http.response.body", "body": sentence.encode()})


@contextmanager
def served(port: int = 0, seed: int = 0, tabs: Tabs | None = None) -> Iterator[str]:
    """The page, served as long as the context lasts; its address. Port 0 is any free one.

    Raises:
        ConfigError: where gradio is missing, or the port is taken.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # gradio reads it when it is imported
    with TemporaryDirectory(prefix="metaplastic-play-") as scratch:
        before = os.environ.get("GRADIO_TEMP_DIR")
        os.environ["GRADIO_TEMP_DIR"] = str(Path(scratch) / "gradio")
        try:
            import gradio as gr
        except ImportError as error:
            raise ConfigError(
                "the page needs gradio, which is not installed: run `make play`, or "
                '`pip install -e ".[play,lab]"`.'
            ) from error
        from experiments.lab.play.view import HERE, build

        saves = Path(scratch) / "saves"
        saves.mkdir()
        fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
        theme = gr.themes.Default(
            primary_hue="blue", neutral_hue="slate", font=fonts, font_mono=["monospace"]
        )
        tabs = tabs or Tabs(seed=seed)
        warm_up(tabs)
        page = build(tabs, saves)
        try:
            _, address, _ = page.launch(
                server_name="127.0.0.1", server_port=port or free_port(), share=False, quiet=True,
                inbrowser=False, prevent_thread_lock=True, show_error=True, max_file_size=LARGEST,
                app_kwargs={"middleware": [(Guard, (), {})]}, theme=theme, footer_links=[],
                css_paths=[HERE / "page.css"], ssr_mode=False, enable_monitoring=False, js=LIGHT,
            )  # fmt: skip
        except OSError as error:
            raise ConfigError(
                f"--port {port} is taken by another program: name another, or 0 for any free one."
            ) from error
        try:
            yield address
        finally:
            page.close(verbose=False)
            if before is None:
                del os.environ["GRADIO_TEMP_DIR"]
            else:
                os.environ["GRADIO_TEMP_DIR"] = before


def warm_up(tabs: Tabs) -> None:
    """Learn and answer once, for nobody: the first time takes ten times as long."""
    tabs.of("").teach("-", "[[[0, 0], [1, 1]]]")
    tabs.of("").ask("[[[0, 0], [1, 1]]]")
    tabs.close("")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
