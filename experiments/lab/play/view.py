"""The page in gradio: components, and what each event asks of the session of its tab."""

from __future__ import annotations

import itertools
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from experiments.lab.play import panels, session_file
from experiments.lab.play.errors import PlayError
from experiments.lab.play.learners import CHOICES, OUTPUTS
from experiments.lab.play.session import Session
from experiments.lab.play.tabs import Tabs

HERE = Path(__file__).parent
TITLE = "metaplastic: teach it your own characters"
HEADER = f"""<div id="title"><h1>Teach it your own characters</h1>
<p>Draw a character, name it, and five rules learn it from that one drawing, online. Draw another,
and see what each of them says. Up to {OUTPUTS} characters; all stays here.</p></div>"""
PAD = """<div class="pad"><canvas></canvas><div class="pad-hint">draw here</div></div>"""
ANSWERS = """<h2>What they say of the drawing</h2><p>Probabilities over the characters learned so
far: a drawing of none of them gets one of their names, too.</p>"""
GALLERY = """<h2>What was learned</h2>
<p>Every drawing as the encoder sees it, 28 by 28 pixels.</p>"""
MATRIX = """<h2>How much each character disturbed the others</h2><p>Row: the character that was
learned. Column: the drawings it was measured on. Number: by how many points of a hundred learning
the row's drawings changed the probability of the right name, before against after each step; red is
interference. Last line: that probability now.</p>"""


def build(tabs: Tabs, saves: Path) -> gr.Blocks:
    """The page; `saves` is a folder for the files that are handed to the browser."""
    script = (HERE / "pad.js").read_text(encoding="utf-8")
    every = {choice.title: name for name, choice in CHOICES.items()}
    blank = Session(tabs.seed)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.HTML(HEADER)
        with gr.Row(equal_height=False):
            with gr.Column(scale=0, min_width=312):
                pad = gr.HTML("", elem_id="pad", html_template=PAD, js_on_load=script)
                name = gr.Textbox(
                    placeholder="its name, such as A", show_label=False, max_lines=1,
                    elem_id="name", container=False,
                )  # fmt: skip
                with gr.Row():
                    teach = gr.Button("Teach", variant="primary", elem_id="teach", min_width=80)
                    ask = gr.Button("Ask", elem_id="ask", min_width=80)
                    clear = gr.Button("Clear", elem_id="clear", min_width=80)
                status = gr.HTML(panels.message("Draw a character, name it, press Teach."),
                                 elem_id="status")  # fmt: skip
                times = gr.HTML("", elem_id="times")
                with gr.Row():
                    save = gr.Button("Save", size="sm", elem_id="save", min_width=60)
                    upload = gr.UploadButton("Load", size="sm", elem_id="load", min_width=60)
                    reset = gr.Button("Start anew", size="sm", elem_id="reset", min_width=60)
                file = gr.DownloadButton("Download", visible="hidden", elem_id="file")
            with gr.Column(scale=1, min_width=320):
                shown = gr.CheckboxGroup(list(every), value=list(every), show_label=False,
                                         container=False, elem_id="shown")  # fmt: skip
                gr.HTML(ANSWERS, elem_classes="section")
                answers = gr.HTML(panels.answers({}, CHOICES), elem_id="answers")
                gr.HTML(GALLERY, elem_classes="section")
                gallery = gr.HTML(panels.gallery(blank), elem_id="gallery")
                gr.HTML(MATRIX, elem_classes="section")
                matrix = gr.HTML(panels.disturbance(blank, every), elem_id="matrix")
        outputs = [status, answers, gallery, matrix, times]

        def views(session: Session, text: str | None, chosen: list[str]) -> list[Any]:
            rules = [every[title] for title in every if title in chosen]
            with session.lock:
                return [
                    gr.skip() if text is None else panels.message(text),
                    panels.answers(session.said, rules),
                    panels.gallery(session),
                    panels.disturbance(session, rules),
                    panels.times(session),
                ]

        @sentences(len(outputs) + 2)
        def on_teach(drawing: Any, called: Any, chosen: Any, request: gr.Request) -> list[Any]:
            session = tabs.of(tab_of(request))
            with session.lock:
                step = session.teach(called, drawing)
                session.ask(drawing)
                return [*views(session, session.report(step), chosen), "", ""]

        @sentences(len(outputs))
        def on_ask(drawing: Any, chosen: Any, request: gr.Request) -> list[Any]:
            session = tabs.of(tab_of(request))
            said = session.ask(drawing)["readout"]
            sure = panels.percent(said.probabilities[0])
            return views(session, f"The readout says {said.names[0]!r}, {sure} sure.", chosen)

        @sentences(len(outputs))
        def on_stroke(drawing: Any, chosen: Any, request: gr.Request) -> list[Any]:
            session = tabs.of(tab_of(request))
            if not (drawing and session.names):
                return [gr.skip()] * len(outputs)
            session.ask(drawing)
            return views(session, None, chosen)

        @sentences(len(outputs))
        def on_show(chosen: Any, request: gr.Request) -> list[Any]:
            return views(tabs.of(tab_of(request)), None, chosen)

        @sentences(len(outputs) + 1)
        def on_reset(chosen: Any, request: gr.Request) -> list[Any]:
            session = tabs.put(tab_of(request), Session(tabs.seed))
            return [*views(session, "All is forgotten: teach a first character.", chosen), ""]

        numbers = itertools.count()

        @sentences(2)
        def on_save(request: gr.Request) -> list[Any]:
            folder = saves / f"{next(numbers)}"
            folder.mkdir()
            path = session_file.save(tabs.of(tab_of(request)), folder / "characters.safetensors")
            return [panels.message("Saved: the browser has the file."), str(path)]

        @sentences(len(outputs))
        def on_load(path: Any, chosen: Any, request: gr.Request) -> list[Any]:
            session = session_file.load(Path(str(path)))
            tabs.put(tab_of(request), session)
            many = f"{len(session.names)} characters, {len(session.labels)} drawings"
            return views(session, f"Loaded: {many}.", chosen)

        def on_close(request: gr.Request) -> None:
            tabs.close(tab_of(request))

        quiet: Any = {"show_progress": "hidden"}
        taught: Any = {"inputs": [pad, name, shown], "outputs": [*outputs, pad, name], **quiet}
        teach.click(on_teach, api_name="teach", **taught)
        name.submit(on_teach, api_visibility="private", **taught)
        ask.click(on_ask, [pad, shown], outputs, api_name="ask", **quiet)
        pad.change(on_stroke, [pad, shown], outputs, trigger_mode="always_last",
                   api_visibility="private", **quiet)  # fmt: skip
        shown.change(on_show, [shown], outputs, api_visibility="private", **quiet)
        clear.click(lambda: "", None, [pad], api_visibility="private", **quiet)
        reset.click(on_reset, [shown], [*outputs, pad], api_visibility="private", **quiet)
        save.click(on_save, None, [status, file], api_visibility="private", **quiet).then(
            None, [file], None, js=DOWNLOAD
        )
        upload.upload(on_load, [upload, shown], outputs, api_visibility="private", **quiet)
        page.load(on_show, [shown], outputs, api_visibility="private", **quiet)
        page.unload(on_close)
    return page.queue(default_concurrency_limit=4, max_size=500)


DOWNLOAD = "(file) => { if (file) document.querySelector('#file')?.click(); }"


def tab_of(request: gr.Request) -> str:
    return str(request.session_hash)


def sentences(count: int) -> Callable[[Callable[..., list[Any]]], Callable[..., list[Any]]]:
    """Whatever a handler raises is a sentence in the first of its `count` outputs."""

    def wrap(handler: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        @wraps(handler)
        def handled(*args: Any) -> list[Any]:
            try:
                return handler(*args)
            except PlayError as error:
                said = str(error)
            except Exception as error:
                traceback.print_exc(file=sys.stderr)  # for whoever runs the server
                said = f"That did not work ({type(error).__name__}), and nothing was learned."
            return [panels.message(said, "error"), *[gr.skip()] * (count - 1)]

        return handled

    return wrap
