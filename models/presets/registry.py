"""The presets by name. A preset, and JAX with it, loads when it is looked up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from models.core.records import TrainSpec
from models.presets import LISTED
from models.presets.preset import Preset


class _Presets(Mapping[str, Preset]):
    """The presets of `models.presets.LISTED`."""

    def __getitem__(self, name: str) -> Preset:
        preset: Preset = import_module(f"models.presets.{LISTED[name].module}").PRESET
        return preset

    def __iter__(self) -> Iterator[str]:
        return iter(LISTED)

    def __contains__(self, name: object) -> bool:
        return name in LISTED

    def __len__(self) -> int:
        return len(LISTED)


PRESETS: Mapping[str, Preset] = _Presets()


def resolve(spec: TrainSpec) -> tuple[Preset, TrainSpec]:
    """Return the preset of a specification, and the specification as the preset takes it.

    Raises
    ------
    ValueError
        If there is no such preset, or the preset does not take the options or fields.
    """
    if spec.preset not in PRESETS:
        raise ValueError(f"This training cannot be done: there is no preset {spec.preset}.")
    preset = PRESETS[spec.preset]
    return preset, preset.check(spec)
