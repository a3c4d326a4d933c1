"""Parameters, checked before any job; and the helpers that the rules share."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

from medlabel import fingerprint, layout, progress, watching
from medlabel import params as parameters
from medlabel.commands.training import source_weights, tower_weights
from medlabel.data import catalogue
from medlabel.errors import MedlabelError
from medlabel.networks.footprint import memory_mb
from medlabel.networks.names import module_of
from medlabel.params.agreement import is_table
from medlabel.params.many_sets import settings_of
from medlabel.params.recipes import APART

ENVIRONMENT = "../../environment.yml"

if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    # The environment holds what the package needs, not the package.
    shell.prefix(
        f"export PYTHONPATH={shlex.quote(str(Path(workflow.basedir) / 'src'))}; "
        'medlabel() { python -m medlabel "$@"; }; '
    )
else:
    # `snakemake` may be called by its path, without its environment being activated.
    shell.prefix(
        f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"; '
    )

SETTINGS = workflow.config_settings
OVERLAYS = [Path(os.path.relpath(path)) for path in SETTINGS.configfiles]

try:
    PARAMS = parameters.read([Path("params.yaml"), *OVERLAYS], given=SETTINGS.config)
except MedlabelError as error:
    sys.exit("\n".join(f"medlabel: error: {line}" for line in str(error).splitlines()))

LAYOUT = layout.of(PARAMS)
DATA = PARAMS.folders.data
PUBLISHED = layout.PUBLISHED
AGREEMENT_FILES = layout.AGREEMENT_FILES
COMPARED_FILES = layout.COMPARED_FILES
CONCEPT_FILES = layout.CONCEPT_FILES
CURVE_FILES = layout.CURVE_FILES
WITHOUT_LABELS_FILES = layout.WITHOUT_LABELS_FILES
MANY_SETS_FILES = layout.MANY_SETS_FILES
GENERATED_FILES = layout.GENERATED_FILES
GENERATION_FILES = layout.GENERATION_FILES
RETRIEVAL_FILES = layout.RETRIEVAL_FILES
SEGMENTATION_FILES = layout.SEGMENTATION_FILES
CONTACT_SHEET = multiext(f"{PARAMS.folders.results}/phantoms", ".svg", ".png")
TRAINED = parameters.Trained("{images}", "{labels}", "{network}", "{recipe}")
# Of jobs that most others wait for. Those on the way to a study's labels take one thread each: one
# that wants two cores would wait until both are free at once. Phantoms want two, and come first;
# vessels want one: beside them a job of minutes would start and keep the phantoms waiting.
FIRST, SECOND, EARLY = 20, 15, 10
# Commands that are pasted see the same parameters as this workflow.
GIVEN = shlex.join(
    word
    for option in [
        *(("--overlay", str(path)) for path in OVERLAYS),
        *(
            ("--set", f"{key}={json.dumps(parameters.retyped(value))}")
            for key, value in SETTINGS.config.items()
        ),
    ]
    for word in option
)
# Jobs inherit it, here and on a cluster, and tell their progress there.
os.environ[progress.FOLDER_VARIABLE] = str(
    watching.progress_folder(Path(DATA, "logs")).absolute()
)
# A card trains one network at a time; profiles/default says how many cards there are.
HAS_GPU = PARAMS.device == "cuda" or (
    PARAMS.device == "auto" and shutil.which("nvidia-smi") is not None
)


wildcard_constraints:
    block=r"\d{4}\d*-\d{4}\d*",
    comparison=r"[a-z0-9_]+",
    curve=r"[a-z0-9_]+",
    dataset=r"[a-z0-9]+",
    encoder=r"[a-z0-9_]+",
    folders=r"[a-z0-9_]+",
    generator=r"[a-z0-9_]+",
    images=r"[a-z0-9_.]+",
    labels=r"[A-Za-z0-9_.@+]+",
    mixture=r"[a-z0-9_]+",
    model=r"[a-z0-9_]+",
    network=r"[A-Za-z0-9_.@-]+",
    prompts=r"[a-z0-9_]+",
    recipe=r"[a-z0-9_]+",
    reference=r"[a-z0-9_.@]+",
    search=r"[a-z0-9_]+",
    sets=r"[a-z0-9_]+",
    run=r"|\.\d+",
    size=r"\d+",
    stem=r"[a-z0-9_]+",
    study=r"[a-z0-9_]+",


def overlays(wildcards, input):
    """Give the options that carry this workflow's parameters to a command.

    Taking `input` marks the value as derived, so that Snakemake does not rerun a job only because
    the same parameters came by another way.
    """
    return GIVEN


def code(*modules):
    """Give a checksum of what modules do: comments and layout change nothing."""
    return fingerprint.of(*modules)


def reads(*sections, **values):
    """Give the parameters that a rule's output depends on, as plain JSON values."""
    content = PARAMS.model_dump(mode="json", include=set(sections))
    return content | values


def part(section, name, without=()):
    """Give one named part as plain JSON values."""
    return getattr(PARAMS, section)[name].model_dump(mode="json", exclude=set(without))


def pools_of(study):
    """Give the pools that a study's images are drawn from."""
    names = {cell.images for cell in PARAMS.grids[study]} & PARAMS.every_mixture.keys()
    return sorted({LAYOUT.pool_of(name) for name in names})


def archives_of_study(study):
    """Give the image files of a study."""
    names = dict.fromkeys(cell.images for cell in PARAMS.grids[study])
    return sorted({path for name in names for path in archives_of(name).values()})


@cache
def archives_of(images):
    """Give the image files of a mixture, or of one official file or phantom, by dataset."""
    return LAYOUT.archives(PARAMS.images(images))


@cache
def trainings_of(study):
    """Give every training of a study with its blocks of seeds."""
    return [
        (trained, block)
        for cell in PARAMS.grids[study]
        for trainings in PARAMS.students(cell, study).values()
        for trained in trainings
        for block in PARAMS.blocks(trained, cell.seeds)
    ]


def files_of_trainings(study, *names):
    """Give files of every training of a study."""
    return [
        f"{LAYOUT.training(trained.name, block)}/{name}"
        for trained, block in trainings_of(study)
        for name in names
    ]


def labels_of_study(study):
    """Give the labels of a study's teachers."""
    students = (
        cell.student(run)
        for cell in PARAMS.grids[study]
        for run in range(len(cell.teachers))
    )
    return sorted({LAYOUT.labels(one.images, one.labels) for one in students})


def reports_of(study):
    """Give what a reader gets of a study, and the trainings behind it.

    A clone has results without trainings, which Snakemake would not miss unless asked for them.
    """
    names = ("study.json", "scores.csv", "tables.md", "report.html")
    results = [LAYOUT.study(study, name) for name in names]
    return [*results, *files_of_trainings(study, "run.json")]


def supervised_studies():
    """Give the default studies without a teacher."""
    return [
        name
        for name in PARAMS.default_studies
        if all(cell.encoder is None for cell in PARAMS.grids[name])
    ]


def all_encoder_files():
    """Give every file of the weights that the default studies use."""
    used = {
        teacher.name
        for study in PARAMS.default_studies
        for cell in PARAMS.grids[study]
        for teacher in cell.teachers
    }
    return [
        path
        for name in sorted(used)
        for path in LAYOUT.encoder_files(PARAMS.teachers(name))
    ]


def let_scheduler_sleep():
    """Lift the limit of jobs a second, where jobs run here and last longer than that anyway.

    Snakemake wakes its scheduler for it once more each second for every job that has ended: after a
    hundred jobs it takes a third of a core.
    """
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None


def record_in_dvc():
    """Tell DVC of a complete run, so that `dvc repro` finds nothing to do.

    Complete is a run of params.yaml as it stands that has run its jobs here. A run of some rules
    only, with an overlay, or one that only touched its files, is not what params.yaml says. What
    DVC itself runs it records itself, and keeps locked until then.
    """
    wanted = workflow.dag_settings
    partial = wanted.targets or wanted.until or wanted.omit_from
    other = OVERLAYS or SETTINGS.config or workflow.touch or workflow.remote_exec
    if partial or other or "DVC_STAGE" in os.environ or not Path(".dvc").is_dir():
        return
    command = ["dvc", "commit", "--force", "--quiet", "dvc.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (
            done.stderr.strip().splitlines() or ["`dvc commit dvc.yaml` says why"]
        )[-1]
        sys.stderr.write(f"medlabel: not recorded in DVC: {reason}\n")
