"""Loss curves of the networks, with their ten lowest points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from catalog.store.models import TrainedModel, find_model
from catalog.store.schema import training_history as history
from jobs.engine.params import from_dict
from jobs.report.drawing import Drawing, Missing, Subject
from jobs.report.per_model import stem
from jobs.report.style import BLACK, BLUE, GREY, PALE, VERMILION, new_figure, style
from jobs.training.params import TrainParams, make_spec
from models.core.records import FINAL_FOLD, VALIDATION_FOLD
from models.presets.registry import PRESETS

LOWEST = 10  # points that are marked
NETWORKS = ("reverse", "forward")  # in the order in which they are trained
REVERSE_LOSS = "MAE [normalized flux]"  # MAE: mean absolute error
FORWARD_LOSSES = {"mae": "MAE [scaled labels]", "mse": "MSE [scaled labels²]"}
LIKELIHOOD = "robust −log likelihood"  # the loss of the preset default
TITLE = "Loss and validation curves"


@dataclass(frozen=True, eq=False)
class Curve:
    """A loss curve: epochs from 1, shape (n,), with the losses of training and validation."""

    epoch: np.ndarray
    loss: np.ndarray
    val_loss: np.ndarray

    @property
    def has_validation(self) -> bool:
        """True where stars were set aside for validation."""
        return bool(np.isfinite(self.val_loss).any())


def draw(conn: sa.Connection, subject: Subject) -> list[Drawing | Missing]:
    """Draw the loss curves of each model."""
    return [_draw_model(conn, find_model(conn, name)) for name in subject.models]


def read_curves(conn: sa.Connection, model_id: int) -> dict[str, dict[int, Curve]]:
    """Return loss curves of a model by network and fold; what is unknown is NaN."""
    query = sa.select(
        history.c.network, history.c.fold, history.c.training_epoch, history.c.loss,
        history.c.val_loss,
    ).where(history.c.model_id == model_id)  # fmt: skip
    rows: dict[str, dict[int, list[tuple[float, ...]]]] = {}
    ordered = query.order_by(history.c.network, history.c.fold, history.c.training_epoch)
    for network, fold, *numbers in conn.execute(ordered):
        rows.setdefault(network, {}).setdefault(fold, []).append(tuple(numbers))
    return {
        network: {fold: Curve(*np.array(points, float).T) for fold, points in folds.items()}
        for network, folds in rows.items()
    }


def median_curve(curves: Mapping[int, Curve]) -> Curve:
    """Median over the folds of a cross-validation, at the epochs that all of them have."""
    folds = [curve for fold, curve in curves.items() if fold >= 0]
    if not folds:
        return Curve(*np.zeros((3, 0)))
    common = folds[0].epoch
    for curve in folds[1:]:
        common = np.intersect1d(common, curve.epoch)
    losses = [curve.loss[np.isin(curve.epoch, common)] for curve in folds]
    return Curve(common, np.median(losses, axis=0), np.full(common.size, np.nan))


def lowest(values: np.ndarray) -> np.ndarray:
    """Indices of the `LOWEST` least finite values, the least first."""
    order = np.argsort(values, kind="stable")  # NaN last
    return order[: min(LOWEST, int(np.isfinite(values).sum()))]


@style()
def draw_curves(curves: Mapping[str, Mapping[int, Curve]], forward_loss: str) -> Figure:
    """Draw the curves of each network in a panel.

    Parameters
    ----------
    curves : mapping of str to mapping of int to Curve
        By network and fold: 0 and up the folds of the cross-validation, -1 the validation run, -2
        the final fit.
    forward_loss : str
        What the forward network's losses are, with their unit.

    Returns
    -------
    Figure
        Losses are on a logarithmic axis where all are positive.
    """
    networks = [name for name in NETWORKS if name in curves]
    figure = new_figure(5.8)
    panels = figure.subplots(1, len(networks), squeeze=False)[0]
    for panel, network in zip(panels, networks, strict=True):
        _draw_network(panel, curves[network])
        loss = REVERSE_LOSS if network == "reverse" else forward_loss
        panel.set(xlabel="epoch", ylabel=loss, title=f"{network} network")
    handles = {h.get_label(): h for p in panels for h in p.get_legend_handles_labels()[0]}
    figure.legend(
        handles=list(handles.values()), loc="outside upper center", ncols=2, handlelength=2.5
    )
    return figure


def _draw_network(panel: Axes, folds: Mapping[int, Curve]) -> None:
    """Fill the panel of a network."""
    label: str | None = "folds"
    for fold, curve in folds.items():
        if fold >= 0:
            panel.plot(curve.epoch, curve.loss, color=PALE, linewidth=0.6, label=label)
            label = None
    middle = median_curve(folds)
    if FINAL_FOLD in folds:
        final = folds[FINAL_FOLD]
        panel.plot(
            final.epoch, final.loss, color=GREY, linestyle=(0, (4, 2)), linewidth=1.0,
            label="final fit, on all stars",
        )  # fmt: skip
    if middle.epoch.size:
        _draw_with_lowest(panel, middle.epoch, middle.loss, "median of the folds", BLACK, "o")
    if VALIDATION_FOLD in folds and folds[VALIDATION_FOLD].has_validation:
        run = folds[VALIDATION_FOLD]
        panel.plot(
            run.epoch, run.loss, color=BLUE, linestyle="--", label="validation run: training"
        )
        name = "validation run: stars set aside"
        _draw_with_lowest(panel, run.epoch, run.val_loss, name, VERMILION, "D")
    panel.set_xscale("log")
    shown = np.concatenate([line.get_ydata() for line in panel.get_lines()])
    if (shown[np.isfinite(shown)] > 0.0).all():
        panel.set_yscale("log")
        for axis in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
            axis(FuncFormatter(_plain))


def _plain(value: float, _position: int | None = None) -> str:
    """Return a tick of a logarithmic axis: 1, 2, 3 and 5 of each decade, without powers."""
    first = f"{value:.0e}"[0]
    return f"{value:g}" if first in "1235" else ""


def _draw_with_lowest(
    panel: Axes, epoch: np.ndarray, loss: np.ndarray, name: str, colour: str, marker: str
) -> None:
    """A thick curve with its lowest points marked."""
    panel.plot(epoch, loss, color=colour, linewidth=2.2, label=name)
    least = lowest(loss)
    panel.plot(
        epoch[least], loss[least], linestyle="none", marker=marker, color=colour, markersize=6,
        markerfacecolor="white", markeredgewidth=1.5, zorder=5,
        label=f"{name}, {least.size} lowest",
    )  # fmt: skip


def _draw_model(conn: sa.Connection, model: TrainedModel) -> Drawing | Missing:
    """Return the figure of a model, or why there is none."""
    name, title = stem("loss", model.full_name), f"{TITLE}: {model.full_name}"
    curves = read_curves(conn, model.model_id)
    if not curves:
        why = (
            f"{model.full_name} came from a file, which holds no loss curves"
            if PRESETS[model.preset].has_epochs
            else f"The preset {model.preset} is solved without epochs"
        )
        return Missing(name, title, f"{why}.")
    validated = any(VALIDATION_FOLD in folds for folds in curves.values())
    caption = (
        f"Mean loss by epoch: {_drawn(curves)}. {_best(curves)}"
        + (
            "Validation run: trained once more with some stars set aside, to see when the network "
            "begins to learn its training stars by heart. "
            if validated
            else "No stars were set aside to validate with: train with --validation 0.3. "
        )
        + ("" if "reverse" in curves else f"{model.full_name} has no reverse network. ")
        + f"{'Circles and diamonds mark' if validated else 'Circles mark'} the lowest points."
    )
    return Drawing(name, title, caption, draw_curves(curves, _forward_loss(model)))


def _forward_loss(model: TrainedModel) -> str:
    """Return words on the losses of a model's forward network."""
    spec = make_spec(from_dict(TrainParams, dict(model.params)))
    options = PRESETS[spec.preset].option_values(spec)
    return FORWARD_LOSSES[options["loss"]] if "loss" in options else LIKELIHOOD


def _drawn(curves: Mapping[str, Mapping[int, Curve]]) -> str:
    """Return the curves that are drawn, in words."""
    folds = {fold for of_network in curves.values() for fold in of_network}
    words = []
    if any(fold >= 0 for fold in folds):
        words += ["pale, the folds of the cross-validation", "black, their median"]
    if FINAL_FOLD in folds:
        words.append("grey and dashed, the final fit on all stars")
    return "; ".join(words)


def _best(curves: Mapping[str, Mapping[int, Curve]]) -> str:
    """Return the lowest points, in words."""
    words = ""
    for network in NETWORKS:
        run = curves.get(network, {}).get(VALIDATION_FOLD)
        if run is not None and run.has_validation:
            i = lowest(run.val_loss)[0]
            words += (
                f"The {network} network does best on stars set aside at epoch "
                f"{run.epoch[i]:,.0f} of {run.epoch[-1]:,.0f} ({run.val_loss[i]:.4g}). "
            )
    return words
