"""What contributors are told is so: paths, targets, versions, hooks, the bytes of a checkout."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from medlabel import __version__

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PATH = re.compile(r"`([\w./-]+)`")


def git(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def named_paths(text: str) -> set[str]:
    """Words in code style that are paths: with a slash, or a file's ending at the top."""
    found = PATH.findall(text)
    return {name for name in found if "/" in name or re.search(r"\.(md|toml|txt|ya?ml)$", name)}


def make_targets() -> set[str]:
    lines = (ROOT / "Makefile").read_text().splitlines()
    return {match[1] for line in lines if (match := re.match(r"([a-z][a-z-]*):(?!=)", line))}


def test_every_path_that_contributors_are_sent_to_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| a")]
    assert len(rows) > 10
    assert all(named_paths(row) for row in rows)
    # `annotation/` and its like are short for folders of the package.
    short = {f"{path.name}/" for path in (ROOT / "src" / "medlabel").iterdir() if path.is_dir()}
    # Results appear only once they are made.
    named = named_paths(text) - short - {"results/"}
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]


def test_every_name_in_the_table_stands_in_a_file_of_its_row() -> None:
    lines = (ROOT / "CONTRIBUTING.md").read_text().splitlines()
    for row in (line for line in lines if line.startswith("| a")):
        files = [ROOT / name for name in named_paths(row)]
        files += [path for one in files if one.is_dir() for path in one.iterdir()]
        content = "".join(path.read_text() for path in files if path.is_file())
        for name in re.findall(r"`([A-Za-z_]+)`", row):
            assert re.search(rf"\b{name}\b", content), f"{name}: {row}"


@pytest.mark.parametrize(
    "name", ["CONTRIBUTING.md", *(str(p.relative_to(ROOT)) for p in WORKFLOWS)]
)
def test_only_targets_of_the_makefile_are_named(name: str) -> None:
    called = re.findall(
        r"(?:^ +|`|run: )make ((?:[a-z][a-z-]* ?)+)", (ROOT / name).read_text(), re.M
    )
    targets = {target for words in called for target in words.split()}
    assert targets
    assert targets <= make_targets()


def test_workflows_check_every_python_that_the_package_names() -> None:
    (workflow,) = WORKFLOWS
    content = yaml.safe_load(workflow.read_text())
    job = content["jobs"]["check"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    steps = [step["run"] for step in job["steps"] if "run" in step]
    assert steps[:3] == ["make setup", "make lint", "make test"]
    # YAML 1.1 reads the key `on` as true.
    assert set(content[True]) == {"push", "pull_request"}


def test_forms_and_the_catalogue_entry_are_yaml() -> None:
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert {form.name for form in forms} == {"bug.yml", "config.yml", "feature.yml"}
    for form in forms:
        content = yaml.safe_load(form.read_text())
        assert form.name == "config.yml" or {"name", "description", "body"} <= set(content)
    catalogue = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert catalogue["usage"]["report"] is True


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert versions[0] == __version__
    assert len(set(versions)) == len(versions)


def test_hooks_run_commands_of_the_environment() -> None:
    content = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in content["repos"] for hook in repository["hooks"]]
    assert len(hooks) == 4
    for hook in hooks:
        command = Path(hook["entry"].split()[0])
        assert command.parent == Path(".venv/bin")
        assert Path(sys.executable).with_name(command.name).is_file(), hook["id"]


def test_a_checkout_is_the_same_bytes_whatever_git_is_told_of_line_ends(tmp_path: Path) -> None:
    if git("cat-file", "-e", "HEAD:.gitattributes").returncode:
        pytest.skip("not a git checkout, or .gitattributes is not committed")
    for value in ("true", "false"):
        cloned = git(
            *("clone", "--quiet", "--shared", "--config", f"core.autocrlf={value}"),
            *(str(ROOT), str(tmp_path / value)),
        )
        assert cloned.returncode == 0, cloned.stderr
    names = git("ls-files", "-z", cwd=tmp_path / "true").stdout.split("\0")
    paths = [name for name in names if name and not (tmp_path / "true" / name).is_symlink()]
    assert len(paths) > 50
    for name in paths:
        first, second = (tmp_path / value / name for value in ("true", "false"))
        assert first.read_bytes() == second.read_bytes(), name


def test_no_committed_text_has_other_line_ends() -> None:
    listed = git("ls-files", "--eol")
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert not [line for line in listed.stdout.splitlines() if re.match(r"i/(crlf|mixed)", line)]
