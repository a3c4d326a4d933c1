"""A workplace for whole runs: the project's files in a folder of their own, phantoms only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from medlabel import params as parameters

ROOT = Path(__file__).parent.parent.parent
TINY = ROOT / "config" / "tiny.yaml"
COPIED = (
    "Snakefile",
    "workflow",
    "profiles",
    "resources",
    "src",
    "environment.yml",
    "dvc.yaml",
    ".dvcignore",
)


@dataclass(frozen=True)
class Workplace:
    """A copy of the project in which tests run Snakemake and DVC for real."""

    folder: Path

    def run(self, *command: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's commands in the folder."""
        environment = os.environ | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(self.folder),
            "PYTHONPATH": str(self.folder / "src"),
            "DVC_NO_ANALYTICS": "1",
            # A port on which nothing listens: no test reaches a network, wherever it runs.
            "HTTP_PROXY": "http://127.0.0.1:9",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "",
        }
        environment.pop("MEDLABEL_MIRROR", None)
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def snakemake(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake on two cores."""
        return self.run("snakemake", "--cores", "2", *options)

    def planned(self, *options: str) -> dict[str, int]:
        """Count the jobs that a dry run would start, by rule."""
        result = self.snakemake(*options, "--dry-run", "--quiet", "rules")
        assert result.returncode == 0, result.stderr
        return job_counts(result.stdout + result.stderr)

    def made(self, *targets: str) -> dict[str, str]:
        """Rule that made each file, by path, as Snakemake's summary has it."""
        summary = self.snakemake(*targets, "--summary").stdout.splitlines()
        header = next(i for i, line in enumerate(summary) if line.startswith("output_file"))
        rows = [line.split("\t") for line in summary[header + 1 :]]
        return {row[0]: row[2] for row in rows if len(row) > 2 and row[2] != "-"}

    def set(self, **sections: dict) -> None:
        """Overlay parameters."""
        path = self.folder / "params.yaml"
        content = yaml.safe_load(path.read_text())
        parameters.overlay(content, sections)
        path.write_text(yaml.safe_dump(content, sort_keys=False))


def job_counts(text: str) -> dict[str, int]:
    """Read Snakemake's last table of jobs."""
    counts: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[1].isdigit() and words[0] not in {"total", "job"}:
            counts[words[0].removesuffix("_phantom_clip")] = int(words[1])
    return counts


def make_workplace(folder: Path) -> Workplace:
    """Copy the project's files, with the tiny parameters as its params.yaml."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    content = parameters.read_yaml(ROOT / "params.yaml")
    parameters.overlay(content, parameters.read_yaml(TINY))
    content["folders"] = {"data": "data", "results": "results"}
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return Workplace(folder)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A workplace in which the tiny study has run once; tests must leave it as it is."""
    workplace = make_workplace(tmp_path_factory.mktemp("finished"))
    result = workplace.snakemake()
    assert result.returncode == 0, result.stdout + result.stderr
    return workplace


@pytest.fixture
def copied(finished: Workplace, tmp_path: Path) -> Workplace:
    """A copy of the finished workplace that a test may change."""
    folder = tmp_path / "copied"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Workplace(folder)
