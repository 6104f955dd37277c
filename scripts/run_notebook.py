"""Run docs/worked.ipynb and write it back with what it printed: python scripts/run_notebook.py.

CROSSLABEL_HOME or CROSSLABEL_DATABASE_URL name the catalog, such as the one of ``make demo``. What
differs from one run to the next without meaning (times, addresses in memory) is taken out.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "worked.ipynb"
KERNEL = "python3"  # of the environment that runs this: ipykernel is part of it
_ADDRESSES = re.compile(r' id="table\d+"| at 0x[0-9a-f]+')


def read_notebook(path: Path = NOTEBOOK) -> NotebookNode:
    """Return the notebook as it is stored, checked against its format."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def execute(notebook: NotebookNode, folder: Path, environ: Mapping[str, str]) -> NotebookNode:
    """A copy of the notebook with the outputs of a run in ``folder``; stops at the first error."""
    copy = nbformat.from_dict(notebook)
    for cell in code_cells(copy):
        cell.outputs, cell.execution_count = [], None
    paths = [str(ROOT), *filter(None, [environ.get("PYTHONPATH")])]
    env = dict(environ) | {"PYTHONPATH": os.pathsep.join(paths)}
    client = NotebookClient(
        copy,
        timeout=300,
        kernel_name=KERNEL,
        resources={"metadata": {"path": str(folder)}},
        config=Config({"KernelManager": {"transport_encryption": "auto"}}),
    )
    client.execute(env=env)
    return copy


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells with code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def code_digest(notebook: NotebookNode) -> str:
    """Return a digest of the code: outputs belong to it while it is the one that ran."""
    code = "\0".join(cell.source for cell in code_cells(notebook))
    return hashlib.sha256(code.encode()).hexdigest()


def settled(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook as it is stored: no times, no addresses, with the digest of the code."""
    for cell in notebook.cells:
        cell.metadata = {}
    for cell in code_cells(notebook):
        for output in cell.outputs:
            for kind, text in output.get("data", {}).items():
                if kind.startswith("text/"):
                    output.data[kind] = _ADDRESSES.sub("", text)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": KERNEL},
        "language_info": {"name": "python"},
        "ran_sha256": code_digest(notebook),
    }
    return notebook


def main() -> None:
    """Run the notebook in an empty folder and write it back."""
    with tempfile.TemporaryDirectory() as folder:
        done = execute(read_notebook(), Path(folder), os.environ)
    nbformat.write(settled(done), NOTEBOOK)
    sys.stdout.write(f"{NOTEBOOK}: {NOTEBOOK.stat().st_size // 1000} kB\n")


if __name__ == "__main__":
    main()
