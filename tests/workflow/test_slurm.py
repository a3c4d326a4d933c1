"""Slurm: the profile, and jobs through a real one-node Slurm where one can be started."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT, make_workplace

# One worker, because ports and the place of Slurm's configuration are the machine's.
pytestmark = [
    pytest.mark.workflow,
    pytest.mark.xdist_group("slurm"),
    pytest.mark.skipif(
        importlib.util.find_spec("snakemake_executor_plugin_slurm") is None,
        reason="snakemake-executor-plugin-slurm is not installed",
    ),
]

CLUSTER = ROOT / "workflow" / "scripts" / "slurm_one_node.sh"
NOT_POSSIBLE = 77
# Named as the study's rules are, so that the profile's groups take hold.
WORKFLOW = """
rule metrics:
    input: "pool.txt", "train.txt"
    output: "metrics.txt"
    shell: "cat {input} > {output}; echo $SLURM_JOB_ID >> {output}"

rule pool:
    output: "pool.txt"
    shell: "echo $SLURM_JOB_ID > {output}"

rule train:
    output: "train.txt"
    threads: 2
    resources:
        mem_mb=100,
        runtime=5,
        gpu=0,
    shell: "echo $SLURM_JOB_ID $SLURM_CPUS_PER_TASK > {output}"
"""


def cluster(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CLUSTER, command], capture_output=True, text=True, timeout=600, check=False
    )


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Slurm of one node, stopped at the end; its folder."""
    # Not pytest's own folder: the path of a socket has room for about 100 characters.
    with tempfile.TemporaryDirectory(prefix="slurm_") as folder:
        state = Path(folder) / "state"
        monkeypatch.setenv("MEDLABEL_SLURM", str(state))
        started = cluster("start")
        if started.returncode == NOT_POSSIBLE:
            pytest.skip(started.stderr.strip().splitlines()[-1])
        assert started.returncode == 0, started.stderr
        try:
            yield state
        finally:
            stopped = cluster("stop")
        assert stopped.returncode == 0, stopped.stderr


def snakemake(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["snakemake", "--profile", str(ROOT / "profiles" / "slurm"), *options],
        cwd=folder,
        env=os.environ | {"PATH": path, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_profile_is_accepted_and_groups_the_study(tmp_path: Path) -> None:
    result = snakemake(make_workplace(tmp_path).folder, "--dry-run")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Group job pool" in result.stdout + result.stderr


def test_three_jobs_run_in_slurm_and_nothing_of_it_stays(slurm: Path, tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    daemons = [int(path.read_text()) for path in slurm.glob("*.pid")]
    assert len(daemons) == 3
    assert "idle" in cluster("status").stdout

    result = snakemake(
        tmp_path,
        *("--slurm-status-command", "squeue"),
        *("--slurm-init-seconds-before-status-checks", "2"),
        *("--seconds-between-status-checks", "2", "--latency-wait", "10"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    pool, train, metrics = (tmp_path / "metrics.txt").read_text().splitlines()
    assert len({pool, train.split()[0], metrics}) == 3
    assert train.split()[1] == "2"

    assert cluster("stop").returncode == 0
    assert not slurm.exists()
    assert not Path("/etc/slurm/slurm.conf").is_symlink()
    assert not any(Path(f"/proc/{daemon}").exists() for daemon in daemons)


def test_stopping_what_does_not_run_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDLABEL_SLURM", str(tmp_path / "none"))
    stopped = cluster("stop")
    assert (stopped.returncode, stopped.stderr) == (0, "slurm_one_node: does not run\n")
