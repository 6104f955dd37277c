"""A survey with the example's configuration of sync, and the command as people run it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from catalog.store.db import Database
from catalog.surveys.simulate import write_survey
from jobs.sync.config import example_text
from tests.conftest import Cli


@dataclass(frozen=True)
class Case:
    """A folder with a configuration, and its catalog."""

    folder: Path
    db: Database
    run: Cli  # (exit code, standard output, standard error) of sync with some options

    @property
    def config(self) -> Path:
        return self.folder / "crosslabel.toml"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def change(self, *pairs: tuple[str, str]) -> None:
        """Replace words of the configuration, each of which must be there."""
        text = self.config.read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        self.config.write_text(text)

    def add(self, text: str) -> None:
        self.config.write_text(f"{self.config.read_text()}\n{text}\n")

    def log(self) -> list[dict[str, Any]]:
        """All lines of the log."""
        lines = (self.folder / "sync.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def states(self) -> dict[str, str]:
        """Step -> state, in the newest sync of the log."""
        newest = self.log()[-1]["sync"]
        return {
            line["step"]: line["state"]
            for line in self.log()
            if line["sync"] == newest and line["event"] == "step"
        }


def make_case(folder: Path, db: Database, command_line: Cli) -> Case:
    """Write the survey and the example's configuration; `run` is the command in this process."""
    write_survey(folder / "incoming", n_matched=24, n_apogee=60, n_sspp=50)
    (folder / "crosslabel.toml").write_text(example_text())
    config = folder / "crosslabel.toml"
    return Case(folder, db, partial(command_line, db.engine.url, "sync", "--config", config))
