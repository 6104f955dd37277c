"""The page: one HTML file with everything in it, from figures, tables and words."""

from __future__ import annotations

import base64
import io
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from jobs.report import style
from jobs.report.drawing import Cell, Drawing, Missing, Subject, Table
from jobs.report.result import Result

#: By which a page says that it is one of ours, so that only those are replaced.
GENERATOR = "crosslabel report"
_MEASURE = re.compile(r"–|[-+]?\d[\d.,]*( ± \d[\d.]*)?")
_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_LAYOUTS = 2  # the first one guesses the width of tick labels
# What would make two equal catalogs give different bytes.
_PLAIN = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}


@dataclass(frozen=True)
class Item:
    """A figure on the page, or why there is none.

    Parameters
    ----------
    name, title, text : str
        Anchor, heading, and the caption or the reason.
    image : str or None
        The PNG file in base 64.
    width, height : int
        Of the image [pixels].
    """

    name: str
    title: str
    text: str
    image: str | None = None
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class Part:
    """A part of the page: a heading with the figures below it."""

    anchor: str
    heading: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Content:
    """Everything that stands on the page.

    Parameters
    ----------
    subject : Subject
        What the report is about.
    simulated : str
        What is simulated; empty for real data.
    result : Result
        In words and numbers.
    counts, sources : sequence of Table
        Through the pipeline, and provenance.
    parts : sequence of Part
        The figures.
    cite : sequence of str
        How to cite.
    version : str
        Of crosslabel.
    """

    subject: Subject
    simulated: str
    result: Result
    counts: Sequence[Table]
    parts: Sequence[Part]
    sources: Sequence[Table]
    cite: Sequence[str]
    version: str


@style.style()
def render_figure(drawing: Drawing, form: str, stamp: str = "") -> bytes:
    """Write a figure; the same drawing always gives the same bytes.

    Parameters
    ----------
    drawing : Drawing
        The figure.
    form : {"png", "pdf"}
        Format of the file.
    stamp : str
        What must be said wherever the figure goes; written below it once.
    """
    figure = drawing.figure
    if stamp and not figure.texts:
        layout = figure.get_layout_engine()
        share = 0.32 / figure.get_figheight()  # a line of small letters
        if isinstance(layout, ConstrainedLayoutEngine):
            layout.set(rect=(0, share, 1, 1 - share))
        figure.text(
            0.99, 0.25 * share, stamp, ha="right", va="bottom", fontsize=11, color=style.GREY
        )
    _settle(figure)
    stream = io.BytesIO()
    figure.savefig(stream, format=form, metadata=_PLAIN[form], dpi=style.RESOLUTION)
    return stream.getvalue()


def _settle(figure: Figure) -> None:
    """Arrange the panels once, at rounded places: the last digits differ from run to run."""
    layout = figure.get_layout_engine()
    if layout is None:
        return
    for _ in range(_LAYOUTS):
        layout.execute(figure)  # without drawing, which takes as long again
    figure.set_layout_engine("none")
    for axes in figure.axes:
        box = axes.get_position(original=True)
        axes.set_position(np.round(box.bounds, 6).tolist(), which="original")


def make_item(drawing: Drawing | Missing, png: bytes = b"") -> Item:
    """A figure for the page, with its image inlined."""
    if isinstance(drawing, Missing):
        return Item(drawing.name, drawing.title, drawing.reason)
    width, height = struct.unpack(">II", png[16:24])  # of the header
    image = base64.b64encode(png).decode("ascii")
    return Item(drawing.name, drawing.title, drawing.caption, image, width, height)


def render_page(content: Content) -> str:
    """Write the page as HTML; nothing in it is loaded from elsewhere."""
    loader = jinja2.PackageLoader("jobs", "report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.tests |= {"measure": _is_measure, "checksum": _is_checksum}
    css, _, _ = loader.get_source(environment, "page.css")
    template = environment.get_template("page.html")
    title = f"Labels of optical spectra: sample {content.subject.sample}"
    values = {name: getattr(content, name) for name in Content.__dataclass_fields__}
    # ours, and the only thing on the page that is not text
    return template.render(values, title=title, css=Markup(css), generator=GENERATOR)


def _is_measure(value: Cell) -> bool:
    """Return True where a cell holds a number with its error, or stands for a missing one."""
    return isinstance(value, str) and _MEASURE.fullmatch(value) is not None


def _is_checksum(value: Cell) -> bool:
    """Return True where a cell holds a SHA-256."""
    return isinstance(value, str) and _CHECKSUM.fullmatch(value) is not None
