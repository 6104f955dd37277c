"""Whatever happens to a file, a reader either reads it or says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.errors import BadInputError
from catalog.fits.cards import parse_cards
from catalog.surveys.allstar import open_allstar
from catalog.surveys.find import list_spectra
from catalog.surveys.formats import read_spectrum_file
from catalog.surveys.simulate import NAMES
from catalog.surveys.sspp import open_sspp

DAMAGE = st.lists(
    st.tuples(st.integers(0, 2**20), st.sampled_from(b"\0 \xff0123456789'-+.=ETDIJKA")),
    min_size=1,
    max_size=5,
)


def read(path: Path) -> None:
    """Read a file to its end with the reader for its name."""
    if path.name.startswith("spec-"):
        read_spectrum_file(path)
        return
    opener = open_allstar if path.name.startswith("allStar") else open_sspp
    with opener(path, "dr14") as catalog:
        catalog.read(0, catalog.n_rows)


def read_damaged(source: Path, folder: Path, damage: list[tuple[int, int]], within: int) -> None:
    """Overwrite some bytes and read; only `BadInputError` may come out."""
    data = bytearray(source.read_bytes())
    for at, byte in damage:
        data[at % min(within, len(data))] = byte
    path = folder / source.name
    path.write_bytes(data)
    try:
        read(path)
    except BadInputError as error:
        assert error.reason_code.isupper()  # noqa: PT017 - to be readable is as good


@pytest.mark.parametrize("kind", ["allstar", "sspp", "spectrum"])
@pytest.mark.parametrize("within", [16_000, 2**20])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(damage=DAMAGE)
def test_damage_ends_in_data_or_in_a_reason(
    simulated: tuple[Path, dict[str, int]],
    tmp_path: Path,
    kind: str,
    within: int,
    damage: list[tuple[int, int]],
) -> None:
    folder = simulated[0]
    source = {
        "allstar": folder / NAMES["dr14"],
        "sspp": folder / "ssppOut-dr12.fits",
        "spectrum": list_spectra([folder])[5],
    }[kind]
    read_damaged(source, tmp_path, damage, within)


@pytest.mark.kit
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(damage=DAMAGE)
def test_damaged_lamost_files(kit: Path, tmp_path: Path, damage: list[tuple[int, int]]) -> None:
    source = kit / "data" / "lamost" / "native" / "spec-55862-B6212_sp06-003.fits"
    read_damaged(source, tmp_path, damage, 2**20)


@pytest.mark.parametrize(
    ("card", "value"),
    [
        ("NAME    = 'O''Neill  '         / who", "O'Neill"),
        ("FLAG    =                    T / yes", True),
        ("COUNT   =                  -12", -12),
        ("WIDE    = 10081308165788686336", 10081308165788686336),
        ("SMALL   =            1.5D-04 /", 1.5e-4),
        ("REAL    =                   .5", 0.5),
        ("EMPTY   = ''", ""),
        ("NOTHING =", None),
        ("BROKEN  = 'no end", None),
        ("WORDS   = many words", None),
        ("COMMENT = 'text'", "text"),
        ("HISTORY   12", None),
        ("HUGE    =               1E400", None),
        ("HUGE    =              -1D999", None),
        ("SMALL   =              1E-400", 0.0),
        ("LATIN   = 'M\xfcller' / \xf1", None),
        ("NUL     = 'a\0b'", None),
        ("COUNT   =          5 / a\tb\xf1", 5),
    ],
)
def test_values_of_cards(card: str, value: object) -> None:
    found = parse_cards(card.ljust(80) + "COUNT   =  5".ljust(80))
    assert found.get(card[:8].strip()) == value
    assert found["COUNT"] == (value if card.startswith("COUNT") else 5)
