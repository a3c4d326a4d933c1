"""Parameters, checked before any job; and the helpers that the rules share."""

import json
import os
import shlex
import sys
from pathlib import Path

from medlabel import params as parameters
from medlabel.data.catalogue import DATASETS, PHANTOMS, is_phantom
from medlabel.errors import MedlabelError
from medlabel.stages import PRESETS
from medlabel.steps import STEPS

# `snakemake` may be called by its path, without its environment being activated.
shell.prefix(f'export PATH="{Path(sys.executable).parent}:$PATH"; ')

try:
    PARAMS = parameters.validate(config, " + ".join(map(str, workflow.configfiles)))
except MedlabelError as error:
    sys.exit("\n".join(f"medlabel: error: {line}" for line in str(error).splitlines()))

DATA = PARAMS.folders.data
RESULTS = PARAMS.folders.results
LOGS = f"{DATA}/logs"
BENCHMARKS = f"{DATA}/benchmarks"
MIXTURE = PARAMS.mixture.name
RUNS = f"{DATA}/runs/{PARAMS.benchmark.name}"
# As MedMNIST names its files.
SUFFIX = "" if PARAMS.data.size == 28 else f"_{PARAMS.data.size}"

# DVC keeps this folder, which holds nothing where all images are phantoms.
Path(DATA, "raw").mkdir(parents=True, exist_ok=True)


wildcard_constraints:
    dataset="|".join([*DATASETS, *PHANTOMS]),
    block=r"\d{4}-\d{4}",
    arm="|".join(PARAMS.arms),
    model=r"[A-Za-z0-9_.-]+",
    recipe=r"[a-z0-9_]+",
    repeat=r"\d{3}",
    suffix="|_64|_128|_224",


def overlays(wildcards, input):
    """Give the options that make a pasted command see the same parameters as this workflow.

    Taking `input` marks the value as derived, so that Snakemake does not rerun a job only because
    the same parameters came by another way.
    """
    given = workflow.config_settings
    files = [("--overlay", os.path.relpath(path)) for path in given.configfiles]
    values = [
        ("--set", f"{key}={json.dumps(value)}") for key, value in given.config.items()
    ]
    return shlex.join(word for option in files + values for word in option)


def triggers(step):
    """Give the parameters that a step's output depends on."""
    return STEPS[step].triggers(PARAMS)


def code(step):
    """Give the modules that a step's output depends on."""
    return STEPS[step].code


def edge_of_suffix(wildcards):
    """Give the edge in pixels or voxels that a file's name says."""
    return wildcards.suffix.removeprefix("_") or 28


def archives():
    """Give the mixture's image files in the order of its datasets."""
    return [
        (
            f"{DATA}/phantoms/{name}.npz"
            if is_phantom(name)
            else f"{DATA}/raw/{name}{SUFFIX}.npz"
        )
        for name in PARAMS.mixture.datasets
    ]


def archive_options(wildcards, input):
    """Give the mixture's image files as command line options."""
    return " ".join(f"--archive {path}" for path in input.archives)


def facts():
    """Give the licences and checksums of the mixture's official files."""
    return [path.replace(".npz", ".json") for path in archives() if "/raw/" in path]


def local_weights():
    """Give the local files of a published teacher, so that new weights are noticed."""
    given = [
        PARAMS.teacher.model.removeprefix("local-dir:"),
        PARAMS.teacher.pretrained or "",
    ]
    return [path for path in given if path and Path(path).exists()]


def labels_of(wildcards):
    """Give the pseudo-labels that an arm trains on; the arm of true labels has none."""
    _, _, encoder = wildcards.arm.partition("_")
    return f"{DATA}/pseudolabels/{MIXTURE}/{encoder}.parquet" if encoder else []


def pseudolabels_option(wildcards, input):
    """Give the pseudo-labels as a command line option."""
    return f"--pseudolabels {input.pseudolabels}" if input.pseudolabels else ""


def figure(name):
    """Give a figure's files, with its caption for `snakemake --report`."""
    return report(
        multiext(f"{RESULTS}/figures/{MIXTURE}_{name}", ".svg", ".png"),
        caption=f"../report/{name}.rst",
        category="Figures",
        labels={"mixture": MIXTURE, "figure": name},
    )


def benchmark_row(wildcards):
    """Give the row of the benchmark that wildcards name."""
    return PARAMS.benchmark.find(
        f"{wildcards.dataset}/{wildcards.model}/{wildcards.recipe}"
    )


def benchmark_recipe(wildcards):
    """Give the recipe of a row: a change of another recipe reruns nothing."""
    recipe = PARAMS.benchmark.require_recipe(benchmark_row(wildcards))
    return {"seed": PARAMS.seed, **recipe.model_dump(mode="json")}


def benchmark_archive(wildcards):
    """Give the images of the row that wildcards name."""
    return archive_of_row(benchmark_row(wildcards))


def archive_of_row(row):
    """Give the images of a row."""
    if is_phantom(row.dataset):
        return f"{RUNS}/{row.dataset}.npz"
    recipe = PARAMS.benchmark.require_recipe(row)
    suffix = "" if recipe.image_size == 28 else f"_{recipe.image_size}"
    return f"{DATA}/raw/{row.dataset}{suffix}.npz"


def weights_of(row, wildcards):
    """Give the weights of the same repeat of a row."""
    return f"{RUNS}/{row.name}/{wildcards.repeat}/weights.safetensors"


def benchmark_start(wildcards):
    """Give the weights that a row starts from: of the same repeat of another row, or a file."""
    row = benchmark_row(wildcards)
    source = PARAMS.benchmark.source_of(row)
    if source:
        return weights_of(source, wildcards)
    path = PARAMS.benchmark.require_recipe(row).start.path
    return [path] if path else []


def start_option(wildcards, input):
    """Give the weights of another row as a command line option."""
    source = PARAMS.benchmark.source_of(benchmark_row(wildcards))
    return f"--start {input.start}" if source else ""


def benchmark_teacher(wildcards):
    """Give the weights of the row that a row learns from, repeat by repeat."""
    teacher = PARAMS.benchmark.teacher_of(benchmark_row(wildcards))
    return weights_of(teacher, wildcards) if teacher else []


def teacher_option(wildcards, input):
    """Give the weights of a row's teacher as a command line option."""
    return f"--teacher {input.teacher}" if input.teacher else ""


def benchmark_runs():
    """Give the record of every run of every row that the parameters list."""
    return [
        f"{RUNS}/{row.name}/{repeat:03d}/run.json"
        for row in PARAMS.benchmark.rows
        for repeat in range(row.seeds)
    ]


def shown_archives():
    """Give the images of each dataset of the benchmark, at the size of its first row."""
    rows = {}
    for row in PARAMS.benchmark.rows:
        rows.setdefault(row.dataset, row)
    return [archive_of_row(row) for row in rows.values()]


def benchmark_figure(name):
    """Give a figure of the benchmark, with its caption for `snakemake --report`."""
    preset = PARAMS.benchmark.name
    return report(
        multiext(f"{RESULTS}/figures/benchmark_{preset}_{name}", ".svg", ".png"),
        caption=f"../report/benchmark_{name}.rst",
        category="Benchmark",
        labels={"preset": preset, "figure": name},
    )


def folder_of(name, up=1):
    """Give the folder that lies `up` levels above a rule's input or output of that name."""

    def folder(wildcards, input, output):
        files = input.get(name) or output.get(name)
        return str(Path(files if isinstance(files, str) else files[0]).parents[up - 1])

    return folder


def record_in_dvc():
    """Tell DVC of a complete run, so that `dvc repro` finds nothing to do.

    Complete is a run of params.yaml as it stands, or of `benchmarks` with a preset's file alone. A
    run of some rules only, or with another overlay, is not what those files say: neither is
    recorded. What DVC itself runs it records itself, and keeps locked until then.
    """
    wanted, given = workflow.dag_settings, workflow.config_settings
    if not Path(".dvc").is_dir() or "DVC_STAGE" in os.environ:
        return
    if wanted.until or wanted.omit_from or given.config:
        return
    overlay, *others = [os.path.relpath(p) for p in given.configfiles] or [None]
    preset = PRESETS.get(PARAMS.benchmark.name)
    if not wanted.targets and not overlay:
        shell("dvc commit --force --quiet dvc.yaml")
    elif set(wanted.targets) == {"benchmarks"} and preset:
        if overlay == preset.overlay and not others:
            shell("dvc commit --force --quiet {preset.address}")
