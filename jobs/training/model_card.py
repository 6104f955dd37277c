"""A page on a model in plain words, made from what the model itself says."""

from __future__ import annotations

import dataclasses
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from catalog.words import count
from jobs.training.params import TrainParams
from models.predict import Model
from models.presets.registry import PRESETS
from models.reliability.flags import FLAG_BITS
from models.spectra.grid import grid_wavelength

FAILURES = (
    "Stars unlike the training stars get labels too: of the training kind. Flags catch most of "
    "them, not all. Look at the flags before the numbers.",
    "Labels near the ends of their range are drawn towards the middle.",
    "Binaries, emission lines, strong rotation and peculiar abundances are not recognised.",
    "A wrong redshift (30 km/s is half a pixel) shifts all lines of a rest-frame spectrum.",
    "The labels are on the scale of the label set that was learned, with its zero points and its "
    "errors: agreement with it is not truth.",
)


def model_card(model: Model, full_name: str, sha256: str) -> str:
    """Write the card of a model as Markdown.

    Parameters
    ----------
    model : Model
        The model; what its manifest does not say is left out.
    full_name : str
        What it is called, with its edition.
    sha256 : str
        Of its artifact.
    """
    facts = model.manifest
    parts = [
        f"# Model {full_name}",
        _summary(model),
        _section("What it predicts", _labels(model)),
        _section("What it was trained on", _training(facts)),
        _section("How well it does", _scores(facts)),
        _section("The errors", _errors(model)),
        _section("Where to believe it", _flags(facts)),
        _section("Known failures", "\n".join(f"- {_wrapped(text)}" for text in FAILURES)),
        _section("How to use it", _use(full_name, model)),
        _section("Where it comes from", _origin(model, full_name, sha256)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, text: str) -> str:
    """Return a section, unless there is nothing to say."""
    return f"## {title}\n\n{text}" if text else ""


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _wrapped(text: str) -> str:
    """Return a text as the lines of a list item."""
    return "\n  ".join(textwrap.wrap(text, 96))


def _number(value: float | None, unit: str) -> str:
    """Return a number with the digits that its unit needs."""
    if value is None:
        return "-"
    digits = 0 if unit == "K" else 3
    return f"{round(value, digits) + 0.0:.{digits}f}"  # no -0


def _summary(model: Model) -> str:
    """Return the section that describes the model in a few sentences."""
    facts = model.manifest
    names = ", ".join(f"{name} [{facts['units'][name]}]" for name in model.spec.labels)
    wave = f"{_angstrom(model, 0)} to {_angstrom(model, model.n_pixels - 1)} Angstrom"
    target = facts.get("label_set", {})
    text = (
        f"It reads {names} from an optical spectrum ({wave}, vacuum, R of about 2000) normalized "
        f"by the recipe `{model.spec.recipe}`. It is {PRESETS[model.spec.preset].summary}."
    )
    if target:
        text += f" It learned the labels of `{target['name']}`: {target['description']}."
    if target.get("simulated"):
        text += (
            "\n\n**SIMULATED, not measured: its training labels or spectra were made by a "
            "program. It shows that the software works and is of no use on the sky.**"
        )
    if target.get("note"):
        text += f"\n\nNote on its labels: {target['note']}"
    return text


def _angstrom(model: Model, pixel: int) -> str:
    """Wavelength of a pixel."""
    return f"{grid_wavelength(model.first_index + pixel, 1)[0]:.0f}"


def _labels(model: Model) -> str:
    """Table of the labels and their ranges."""
    facts, rows = model.manifest, []
    known = facts.get("training", {}).get("labels", {})
    for name in model.spec.labels:
        unit = facts["units"][name]
        low, high = facts["label_ranges"][name]
        row = [name, unit, f"{_number(low, unit)} to {_number(high, unit)}"]
        if name in known:
            middle = known[name]
            row += [
                f"{_number(middle['p5'], unit)} to {_number(middle['p95'], unit)}",
                str(middle["n"]),
            ]
        rows.append(tuple(row))
    head = ("label", "unit", "range of validity: that of the training labels")
    return _table(head + (("middle 90% of them", "spectra with it") if known else ()), rows)


def _training(facts: Mapping[str, Any]) -> str:
    """Return counts, S/N and the sample."""
    training = facts.get("training")
    if not training:
        return ""
    snr, sample = training["snr"], facts["sample"]
    instruments = ", ".join(training["instruments"]) or "unknown"
    text = (
        f"{count(training['spectra'], 'spectrum')} of {count(training['stars'], 'star')}, taken by "
        f"{instruments}, with a median S/N per pixel of {snr['median']:.0f} (5% below "
        f"{snr['p5']:.0f}, 5% above {snr['p95']:.0f}). They are the accepted pairs of the sample "
        f"`{sample['name']}` (preset `{sample['preset']}`)."
    )
    return text + "\n\nThe sample: " + "; ".join(_settings(sample["params"])) + "."


def _settings(values: Mapping[str, Any]) -> list[str]:
    """Return settings that are set, in words."""
    pairs = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            pairs += _settings(value)
        elif value not in (None, "", []):
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            pairs.append(f"{key} = {text}")
    return pairs


def _scores(facts: Mapping[str, Any]) -> str:
    """Out-of-fold scores, by label and kind of star."""
    if "scores" not in facts:
        return ""
    rows = []
    for label in facts["labels"]:
        unit, groups = facts["units"][label], facts["scores"][label]
        for group in [name for name in ("all", "giants", "dwarfs") if name in groups]:
            s = groups[group]
            shares = [f"{s[c]:.2f}" if s[c] is not None else "-" for c in _COVERAGES]
            rows.append(
                (f"{label} [{unit}]", group, str(s["n"]), _number(s["bias"], unit),
                 _number(s["sigma_mad"], unit), _number(s["mae"], unit),
                 f"{100 * (s['outliers'] or 0):.1f}%", _number(s["median_error"], unit), *shares)
            )  # fmt: skip
    head = ("label", "stars", "spectra", "bias", "scatter", "MAE", "outliers", "median error",
            "in 68% interval", "in 95% interval")  # fmt: skip
    return (
        "Each training spectrum was labelled by a model that never saw its star. Differences from "
        "the\nlabels learned: median (bias), 1.4826 MAD (scatter), mean absolute (MAE), share "
        "beyond 3\nscatters (outliers); and the shares within the intervals of 68% and of 95%, "
        "combined with the\nerrors of the labels learned. Giants have log g < 3.5; groups of "
        "fewer than 20 spectra are left\nout.\n\n" + _table(head, rows)
    )


_COVERAGES = ("coverage68", "coverage95")


def _errors(model: Model) -> str:
    """Return the section on the origin of the errors."""
    if not any(name.startswith("calibration/") for name in model.arrays):
        return "The model gives no errors. Take the scatter above for what it is: an average."
    return (
        "Raw errors are those that the model predicts. They are multiplied by factors such that "
        "68% of\nthe out-of-fold differences lie within the combined error, among giants and among "
        "dwarfs. The\nfactors depend on S/N, distance to the training spectra and other things "
        "known without the labels\n(models/reliability/calibration.py). Intervals of 95% have "
        "factors of their "
        "own. The errors do not contain those\nof the labels learned, nor their zero points, and "
        "hold for stars like the training stars."
    )


def _flags(facts: Mapping[str, Any]) -> str:
    """Flags, their meaning and how many training spectra have them."""
    flagged = facts.get("flagged", {})
    n = facts.get("training", {}).get("spectra", 0)
    rows = []
    for name, meaning in FLAG_BITS.values():
        share = f"{100 * flagged[name] / n:.1f}%" if n and name in flagged else "-"
        rows.append((f"`{name}`", meaning, share))
    text = "Not where one of these flags is set:\n\n"
    text += _table(("flag", "means", "training spectra, when left out"), rows)
    if n and flagged:
        text += f"\n\n{100 * flagged['any'] / n:.1f}% of the training spectra have any flag."
    return text


def _use(full_name: str, model: Model) -> str:
    """Commands that predict."""
    name = full_name.partition("@")[0]
    return (
        "```sh\n"
        f"crosslabel model import FILE            # where the catalog does not have it yet\n"
        f"crosslabel normalize --recipe {model.spec.recipe}\n"
        f"crosslabel predict {full_name} --name {name}/all\n"
        "```"
    )


def _origin(model: Model, full_name: str, sha256: str) -> str:
    """Return provenance, and the command that trains it again."""
    facts = model.manifest
    own, target = facts.get("model", {}), facts.get("label_set", {})
    rows = [
        ("artifact", f"sha256 `{sha256}`"),
        ("labels learned", f"`{target.get('name', '-')}`, inputs `{target.get('inputs_hash')}`"),
        ("sample", f"`{facts.get('sample', {}).get('name', '-')}`"),
        ("spectra and labels", f"digest `{own.get('inputs', '-')}`"),
        ("recipe", f"`{facts['recipe']['name']}`, version {facts['recipe']['version']}"),
        ("grid", f"loglam = 3.5 + 1e-4 k, {model.n_pixels} pixels from k = {model.first_index}"),
        ("seed", str(model.spec.seed)),
        ("versions", ", ".join(f"{k} {v}" for k, v in facts["versions"].items())),
    ]
    text = _table(("what", "which"), rows)
    if "params" in own:
        text += f"\n\nTrained by\n\n```sh\n{train_command(own['params'])}\n```\n\n"
        text += (
            f"Cite it as crosslabel model {full_name}, sha256 {sha256[:12]}, with the label set."
        )
    return text


def train_command(params: Mapping[str, Any]) -> str:
    """Return the command that began a training.

    Parameters
    ----------
    params : mapping
        `jobs.training.params.TrainParams` as JSON-able values.
    """
    words = ["crosslabel", "train"]
    for key in ("preset", "sample", "name", "target", "recipe"):
        words += [f"--{key}", str(params[key])]
    words += ["--labels", ",".join(params["labels"]), "--folds", str(params["folds"])]
    for key in ("epochs", "reverse_epochs", "rounds", "validation", "seed"):
        if params.get(key):
            words += [f"--{key.replace('_', '-')}", str(params[key])]
    usual = {field.name: field.default for field in dataclasses.fields(TrainParams)}
    for key in ("members", "components"):
        if params[key] != usual[key]:
            words += ["--set", f"{key}={params[key]}"]
    for name, value in params.get("options") or ():
        words += ["--set", f"{name}={value}"]
    return shlex.join(words)
