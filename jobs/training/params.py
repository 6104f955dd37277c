"""Parameters of a training, and their translation for `models.trainer`."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from catalog.errors import UsageError
from catalog.version import code_version
from catalog.words import names_near
from jobs.engine.params import HASHED_IF_SET
from jobs.training.data import check_labels
from models.core.options import Pairs, Value
from models.core.records import TrainSpec
from models.presets.preset import Preset
from models.presets.registry import PRESETS, resolve
from models.spectra.normalize import RECIPES

LIBRARIES = ("numpy", "jax", "flax", "optax")


@dataclass(frozen=True)
class TrainParams:
    """Parameters of a training.

    Attributes
    ----------
    name : str
        Name of the model; its out-of-fold label set is ``NAME/oof``.
    preset : str
        One of `models.presets.registry.PRESETS`.
    sample : str
        The accepted pairs of this sample are trained on.
    target : str
        Label set to learn: ``name``, or ``name@edition``, which `train_job` makes of it; empty: the
        one by which the sample was selected.
    recipe : str, optional
        Normalization of the spectra; if not given, that of the preset's name, else ``default``.
    labels : tuple of str
        Labels to learn.
    folds, epochs, reverse_epochs, rounds, validation, seed, members, components, options
        As in `models.core.records.TrainSpec`.
    inputs : str
        Digest of keys, labels and spectra trained on; `train_job` fills it in.
    """

    name: str
    preset: str
    sample: str
    target: str = ""
    recipe: str | None = None
    labels: tuple[str, ...] = ("teff", "logg", "fe_h")
    folds: int = 10
    epochs: int | None = None
    reverse_epochs: int | None = None
    rounds: int | None = None
    validation: float = 0.0
    seed: int = 0
    members: int = 5
    components: int = 64
    inputs: str = ""
    options: Pairs = field(default=(), metadata=HASHED_IF_SET)

    @property
    def out_of_fold_set(self) -> str:
        """Name of the out-of-fold label set."""
        return f"{self.name}/oof"


def check_preset_name(name: str) -> None:
    """Raise unless there is such a preset; the preset, and JAX with it, is not loaded.

    Raises
    ------
    UsageError
    """
    if name not in PRESETS:
        raise UsageError(f"there is no preset {name}", names_near(name, PRESETS, "Presets"))


def find_preset(name: str) -> Preset:
    """Return the preset of a name.

    Raises
    ------
    UsageError
        If there is none; the message names those near it.
    """
    check_preset_name(name)
    return PRESETS[name]


def make_spec(params: TrainParams) -> TrainSpec:
    """Return the specification for `models.trainer`.

    Raises
    ------
    UsageError
        If it makes no sense.
    """
    check_labels(params.labels)
    shared = {f.name for f in dataclasses.fields(TrainSpec)} & {
        f.name for f in dataclasses.fields(params)
    }
    values = {name: getattr(params, name) for name in shared}
    preset = find_preset(params.preset)
    if "rounds" not in preset.fields and (params.rounds or params.reverse_epochs):
        having = " and ".join(name for name, p in PRESETS.items() if "rounds" in p.fields)
        raise UsageError(
            f"only {having} has a reverse network and a second round; {params.preset} has not",
            "Leave --rounds and --reverse-epochs away",
        )
    if params.rounds is None:
        del values["rounds"]
    try:
        spec = TrainSpec(**values | {"recipe": recipe_name(params.preset, params.recipe)})
        return resolve(spec)[1]
    except ValueError as exc:
        raise UsageError(str(exc).rstrip(".")) from exc


def with_settings(params: TrainParams, texts: Sequence[str]) -> TrainParams:
    """Apply what was typed as NAME=VALUE.

    Parameters
    ----------
    params : TrainParams
        Without these settings.
    texts : sequence of str
        Such as ``neurons=24``.

    Raises
    ------
    UsageError
        If a text is no such pair, the preset has no such setting, or a setting is given twice.
    """
    check_preset_name(params.preset)
    if not texts:
        return params
    preset = find_preset(params.preset)
    known = sorted(preset.settings)
    given: dict[str, Value] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        try:
            if not (name and equals):
                raise ValueError(f"{text!r} is not of the form NAME=VALUE")
            if name not in known:
                raise UsageError(
                    f"{params.preset} has no setting {name}", names_near(name, known, "Settings")
                )
            setting = preset.settings[name].read(name, value)
        except ValueError as exc:
            raise UsageError(
                str(exc),
                f"Settings of {params.preset}: {', '.join(known)}; each as --set NAME=VALUE",
            ) from exc
        if name in given or getattr(params, name, None) != getattr(TrainParams, name, None):
            raise UsageError(f"{name} is given twice", "Give it once")
        given[name] = setting
    fields, options = preset.split_settings(given)
    return dataclasses.replace(params, options=tuple(sorted(options.items())), **fields)


def recipe_name(preset: str, recipe: str | None) -> str:
    """Return the recipe asked for, else that of the preset."""
    return recipe or (preset if preset in RECIPES else "default")


def library_versions() -> dict[str, str]:
    """Return versions of what the numbers of a model depend on."""
    return {
        "crosslabel": code_version(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }
