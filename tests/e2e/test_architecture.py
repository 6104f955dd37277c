"""The picture of the architecture is drawn from the contracts, and the imports are as it shows."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

import grimp
import pytest

from scripts import build_architecture
from scripts.build_architecture import Box

ROOT = Path(__file__).resolve().parents[2]
RENEW = "run python scripts/build_architecture.py"
TOP = ("catalog", "models", "jobs")


@pytest.fixture(scope="module")
def shown() -> dict[str, Box]:
    """The boxes of the picture, by name."""
    root = ElementTree.parse(build_architecture.PICTURE).getroot()
    place = ("x", "y", "width")
    found = [r.attrib for r in root.iter("{http://www.w3.org/2000/svg}rect") if "id" in r.attrib]
    return {r["id"]: Box(r["id"], *(float(r[key]) for key in place)) for r in found}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*TOP, cache_dir=None)


def box_of(module: str, shown: dict[str, Box]) -> Box | None:
    """The innermost box that a module is in."""
    parts = module.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((shown[name] for name in names if name in shown), None)


def exceptions() -> list[tuple[str, str]]:
    """The imports that the contracts on layers leave out: patterns of importer and imported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    found = [
        line for c in contracts if c["type"] == "layers" for line in c.get("ignore_imports", ())
    ]
    pairs = [line.replace("**", "*").partition(" -> ") for line in found]
    return [(importer, imported) for importer, _, imported in pairs]


def test_the_picture_is_drawn_from_the_contracts() -> None:
    drawn = build_architecture.picture(build_architecture.read_layers())
    assert build_architecture.PICTURE.read_text() == drawn, f"it is out of date: {RENEW}"


def test_every_module_is_in_the_picture(shown: dict[str, Box], graph: grimp.ImportGraph) -> None:
    homeless = sorted(m for m in graph.modules if m not in TOP and box_of(m, shown) is None)
    assert homeless == [], f"add them to the layers in pyproject.toml, then {RENEW}"
    assert [name for name in shown if name not in graph.modules] == []


def test_every_import_points_down(shown: dict[str, Box], graph: grimp.ImportGraph) -> None:
    up, down, ignored = [], 0, exceptions()
    for importer in graph.modules - set(TOP):
        for imported in graph.find_modules_directly_imported_by(importer) - set(TOP):
            above, below = box_of(importer, shown), box_of(imported, shown)
            if above is None or below is None or above == below:
                continue
            down += above.y < below.y
            left_out = any(
                fnmatchcase(importer, a) and fnmatchcase(imported, b) for a, b in ignored
            )
            if above.y >= below.y and not left_out:
                up.append(f"{importer} imports {imported}")
    assert up == []
    assert down > 100


def test_names_fit_their_boxes_and_boxes_do_not_touch(shown: dict[str, Box]) -> None:
    boxes = list(shown.values())
    for box in boxes:
        assert 7 * len(box.name.partition(".")[2]) < box.width, box.name
        for other in boxes:
            apart_x = abs(box.x - other.x) >= min(box.width, other.width) + 8
            apart_y = abs(box.y - other.y) >= build_architecture.ROW + 8
            assert box is other or apart_x or apart_y, f"{box.name} on {other.name}"


def test_design_describes_every_package(graph: grimp.ImportGraph) -> None:
    page = (ROOT / "docs" / "design.md").read_text()
    section = page.split("## Packages and direction\n")[1].split("\n## ")[0]
    packages = {m for m in graph.modules if m.count(".") == 1 and graph.find_children(m)}
    missing = [p for p in sorted(packages) if f"`{p.replace('.', '/')}`" not in section]
    assert missing == [], "describe them in the table of docs/design.md"
