"""The labels that a model learned, before and after scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from matplotlib.figure import Figure

from catalog.errors import UsageError
from catalog.store.labels import find_label_set
from catalog.store.models import TrainedModel, find_model
from catalog.store.samples import sample_id_of
from catalog.words import count
from jobs.engine.params import from_dict
from jobs.normalize import find_recipe
from jobs.report.drawing import Drawing, Missing, Subject
from jobs.report.per_model import PER_ROW, caution, label_panels, stem
from jobs.report.style import BLACK, BLUE, VERMILION, axis_label, style, symbol
from jobs.training.data import read_training_rows
from jobs.training.model_files import open_model
from jobs.training.params import TrainParams, make_spec
from models.core.scaling import LabelScaler

BINS = 40
TITLE = "Labels before and after scaling"


@dataclass(frozen=True, eq=False)
class Learned:
    """The training labels of a model, shape (n, k) [their units], and their scaling."""

    model: TrainedModel
    labels: np.ndarray
    scaler: LabelScaler

    @property
    def key(self) -> bytes:
        """The same for models that learned the same labels, scaled alike."""
        names = ",".join((str(self.model.params["target"]), *self.model.labels)).encode()
        numbers = (self.labels, self.scaler.center, self.scaler.scale)
        return names + b"".join(np.ascontiguousarray(a, np.float64).tobytes() for a in numbers)


def draw(conn: sa.Connection, subject: Subject) -> list[Drawing | Missing]:
    """Draw what the models learned; models that learned the same share a figure."""
    groups: dict[bytes, list[Learned]] = {}
    missing: list[Drawing | Missing] = []
    words = caution(conn, subject)
    for full_name in subject.models:
        model = find_model(conn, full_name)
        try:
            arrays = open_model(conn, model).arrays
            scaler = LabelScaler(arrays["center"], arrays["scale"])
            learned = Learned(model, read_learned(conn, model), scaler)
        except UsageError as exc:
            name, title = stem("scaling", full_name), f"{TITLE}: {full_name}"
            missing.append(Missing(name, title, str(exc)))
        else:
            groups.setdefault(learned.key, []).append(learned)
    return [*(_draw_group(group, words) for group in groups.values()), *missing]


def read_learned(conn: sa.Connection, model: TrainedModel) -> np.ndarray:
    """Read the labels of a model's training spectra.

    Returns
    -------
    ndarray, shape (n, k) [units of the labels]
        NaN where missing.

    Raises
    ------
    UsageError
        If the model came from a file, or what it was trained on has changed since.
    """
    if model.run_id is None:
        raise UsageError(
            f"{model.full_name} came from a file, which does not hold the labels it learned",
            "Train it here",
        )
    params = from_dict(TrainParams, dict(model.params))
    rows = read_training_rows(
        conn, params.sample, sample_id_of(conn, params.sample),
        find_label_set(conn, params.target), params.labels,
        find_recipe(make_spec(params).recipe), mixed=True,
    )  # fmt: skip
    if rows.inputs != params.inputs:
        raise UsageError(
            f"the labels or spectra that {model.full_name} was trained on have changed",
            "Train it again",
        )
    return rows.labels


@style()
def draw_scaling(names: Sequence[str], labels: np.ndarray, scaler: LabelScaler) -> Figure:
    """Draw histograms of labels above and of scaled labels below.

    Parameters
    ----------
    names : sequence of str
        The k labels.
    labels : ndarray, shape (n, k) [units of the labels]
        NaN where missing.
    scaler : LabelScaler
        Fitted on them.
    """
    scaled = scaler.transform(labels)
    figure, panels = label_panels(len(names), 6.0, (1.0, 1.0))
    for place, (pair, name) in enumerate(zip(panels, names, strict=True)):
        for panel, values, colour, center, scale in (
            (pair[0], labels[:, place], BLUE, scaler.center[place], scaler.scale[place]),
            (pair[1], scaled[:, place], VERMILION, 0.0, 1.0),
        ):
            count, edges = np.histogram(values[np.isfinite(values)], BINS)
            panel.stairs(count, edges, fill=True, color=colour, alpha=0.6)
            panel.axvline(center, color=BLACK, linewidth=1.6)
            for end in (center - scale, center + scale):
                panel.axvline(end, color=BLACK, linewidth=1.2, linestyle="--")
            panel.grid(visible=False, axis="x")
            panel.locator_params(axis="x", nbins=4)
            panel.locator_params(axis="y", integer=True)
        pair[0].set(xlabel=axis_label(name))
        pair[1].set(xlabel=f"scaled {symbol(name)}")
        if place % PER_ROW == 0:
            pair[0].set_ylabel("spectra")
            pair[1].set_ylabel("spectra")
    return figure


def _draw_group(group: Sequence[Learned], words: str) -> Drawing:
    """Return the figure of models that learned the same."""
    model, labels = group[0].model, group[0].labels
    names = ", ".join(learned.model.full_name for learned in group)
    missing = _missing(dict(zip(model.labels, labels.T, strict=True)))
    caption = (
        f"Labels of {count(len(labels), 'training spectrum')} of {names}: above as in "
        f"{model.params['target']}, below as the model sees them, minus the mean (line) and over "
        f"the standard deviation (dashed: one to either side). {missing}The scaling is that of the "
        f"final fit on all training stars; each fold has its own.{words}"
    )
    figure = draw_scaling(model.labels, labels, group[0].scaler)
    return Drawing(stem("scaling", model.full_name), f"{TITLE}: {names}", caption, figure)


def _missing(labels: Mapping[str, np.ndarray]) -> str:
    """Return the numbers of spectra that lack labels, in words; empty where none does."""
    lacking = {name: int((~np.isfinite(values)).sum()) for name, values in labels.items()}
    parts = [f"{n:,} without {name}" for name, n in lacking.items() if n]
    return f"Left out: {', '.join(parts)}. " if parts else ""
