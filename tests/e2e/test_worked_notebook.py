"""The worked notebook runs as it stands, without a warning, and shows what its code printed."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from catalog.store.db import Database
from jobs.training.train import TrainParams
from scripts.run_notebook import NOTEBOOK, code_cells, code_digest, execute, read_notebook
from tests.conftest import libpq_url, reader_login
from tests.support.learning import train

LARGEST = 300_000  # bytes


def problems(notebook: NotebookNode) -> list[str]:
    """Whatever code printed on standard error, warnings among it, and errors."""
    found = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                found.append(str(output.get("text", output.get("evalue"))))
    return found


def test_it_runs_on_another_catalog_without_a_warning(survey: Database, tmp_path: Path) -> None:
    train(survey, TrainParams("default", "ridge", "clean", folds=2))
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("CROSSLABEL_", "MPL"))}
    environ["CROSSLABEL_DATABASE_URL"] = libpq_url(survey.engine.url)
    environ["CROSSLABEL_READER_URL"] = libpq_url(reader_login(survey.engine.url))
    done = execute(read_notebook(), tmp_path, environ)
    assert problems(done) == []
    stored = code_cells(read_notebook())
    for cell, known in zip(code_cells(done), stored, strict=True):
        kinds = [(o.output_type, sorted(o.get("data", {}))) for o in cell.outputs]
        shown = [(o.output_type, sorted(o.get("data", {}))) for o in known.outputs]
        assert kinds[:1] == shown[:1], f"another kind of output than is stored:\n{cell.source}"
    assert [path.name for path in tmp_path.iterdir()] == ["clean.ecsv"]


def test_its_outputs_are_those_of_its_code() -> None:
    notebook = read_notebook()
    assert notebook.metadata.ran_sha256 == code_digest(notebook), (
        "the code of docs/worked.ipynb has changed since it ran: make demo, then "
        "CROSSLABEL_HOME=demo/home python scripts/run_notebook.py"
    )
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert problems(notebook) == []
    pictures = [o for c in cells for o in c.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 3
    assert NOTEBOOK.stat().st_size < LARGEST
    assert not any(cell.metadata for cell in notebook.cells)  # no times


def test_errors_of_cells_and_warnings_are_found(tmp_path: Path) -> None:
    from nbclient.exceptions import CellExecutionError

    environ = dict(os.environ)
    warning = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("import warnings; warnings.warn('doubtful')")]
    )
    assert "doubtful" in problems(execute(warning, tmp_path, environ))[0]
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(broken, tmp_path, environ)
