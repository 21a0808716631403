"""What the page shows, as HTML: answers, characters, disturbance, times and messages."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from html import escape

from PIL import Image, ImageOps
from torch import Tensor

from experiments.lab.play.learners import CHOICES
from experiments.lab.play.session import Answer, Session

SHOWN = 5  # names of an answer
FADED = "answer-none"


def message(text: str, kind: str = "say") -> str:
    """A sentence; `kind` is `say` or `error`."""
    return f'<p class="{kind}" role="status">{escape(text)}</p>'


def answers(found: Mapping[str, Answer], shown: Iterable[str]) -> str:
    """A card for each learner: its name for the drawing, and bars of probability."""
    cards = []
    for name in shown:
        choice, answer = CHOICES[name], found.get(name)
        if answer is None:
            says, bars = f'<div class="says {FADED}">no drawing yet</div>', ""
        else:
            sure = answer.probabilities[0]
            says = (
                f'<div class="says"><b>{escape(answer.names[0])}</b><span>{percent(sure)}</span>'
                "</div>"
            )
            pairs = list(zip(answer.names, answer.probabilities, strict=True))[:SHOWN]
            bars = "".join(bar(*pair) for pair in pairs)
        cards.append(
            f'<section class="card" data-rule="{name}"><h3>{escape(choice.title)}</h3>'
            f"{says}{bars}<small>{escape(choice.about)}</small></section>"
        )
    return f'<div class="cards">{"".join(cards)}</div>'


def bar(name: str, chance: float) -> str:
    width = f"{100 * chance:.1f}%"
    return (
        f'<div class="bar"><label>{escape(name)}</label><div><i style="width:{width}"></i></div>'
        f"<span>{percent(chance)}</span></div>"
    )


def percent(chance: float) -> str:
    return f"{100 * chance:.0f} %"


def gallery(session: Session) -> str:
    """The characters that were learned, with the drawings of each, as the encoder is given them."""
    if not session.names:
        return '<p class="empty">Characters that you teach appear here.</p>'
    parts = []
    for label, name in enumerate(session.names):
        own = [
            image
            for image, given in zip(session.images, session.labels, strict=True)
            if given == label
        ]
        images = "".join(f'<img src="{data_url(image)}" alt="">' for image in own[-6:])
        more = f"<em>+{len(own) - 6}</em>" if len(own) > 6 else ""
        parts.append(f"<figure>{images}{more}<figcaption>{escape(name)}</figcaption></figure>")
    return f'<div class="gallery">{"".join(parts)}</div>'


def data_url(image: Tensor) -> str:
    """A uint8 image, ink 255, as a PNG of dark ink on white inside an address."""
    file = io.BytesIO()
    ImageOps.invert(Image.fromarray(image.numpy())).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def disturbance(session: Session, shown: Iterable[str]) -> str:
    """A matrix for each learner: by how much learning a row's character changed a column's."""
    if len(session.names) < 2:
        return '<p class="empty">With a second character, the matrices appear here.</p>'
    heads = "".join(f"<th>{escape(name)}</th>" for name in session.names)
    right, tables = session.accuracy(), []
    for name in shown:
        rows = []
        losses = session.disturbance(name, "loss")
        for label, row in enumerate(session.disturbance(name)):
            cells = "".join(
                cell(value, losses[label][own], own == label) for own, value in enumerate(row)
            )
            rows.append(f"<tr><th>{escape(session.names[label])}</th>{cells}</tr>")
        now = "".join(f"<td>{100 * right[name][own]:.0f}</td>" for own in range(len(session.names)))
        tables.append(
            f'<section class="card matrix" data-rule="{name}"><h3>{escape(CHOICES[name].title)}'
            f"</h3><table><thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
            f"<tfoot><tr><th>now</th>{now}</tr></tfoot></table></section>"
        )
    return f'<div class="cards">{"".join(tables)}</div>'


def cell(value: float | None, loss: float | None, own: bool) -> str:
    """One change of probability, in points: red where it fell, green where it rose."""
    kind = ' class="own"' if own else ""
    if value is None or loss is None:
        return f"<td{kind}></td>"
    points = round(100 * value)
    color = "192, 57, 43" if value < 0 else "39, 134, 84"
    shade = f"background:rgba({color},{min(1.0, abs(value)) * 0.8:.2f})"
    shown = f"{points:+d}" if points else "0"
    return f'<td{kind} style="{shade}" title="loss {loss:+.4f} nats">{shown}</td>'


def times(session: Session) -> str:
    """The milliseconds of the last drawing that was learned, and of the last answer."""
    parts = []
    for what, spent in (("Learned", session.times.learning), ("Answered", session.times.answering)):
        if spent:
            shares = ", ".join(f"{name.lower()} {ms:.1f}" for name, ms in spent.items())
            total = f"{sum(spent.values()):.1f} ms"
            parts.append(f'<p class="times"><b>{what} in {total}</b> <small>({shares})</small></p>')
    return "".join(parts)
