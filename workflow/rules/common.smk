"""Parameters, checked before any job; and the helpers that the rules share."""

import json
import os
import sys
from pathlib import Path

from medlabel import params as parameters
from medlabel.data.catalogue import DATASETS, PHANTOMS, is_phantom, is_volumetric, source
from medlabel.errors import MedlabelError
from medlabel.steps import STEPS

# `snakemake` may be called by its path, without its environment being activated.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

try:
    PARAMS = parameters.validate(config, " + ".join(map(str, workflow.configfiles)))
except MedlabelError as error:
    sys.exit("\n".join(f"medlabel: error: {line}" for line in str(error).splitlines()))

MIXTURE = PARAMS.mixture.name


pathvars:
    data=PARAMS.folders.data,
    results=PARAMS.folders.results,
    logs=f"{PARAMS.folders.data}/logs",
    benchmarks=f"{PARAMS.folders.data}/benchmarks",


wildcard_constraints:
    dataset="|".join(DATASETS),
    suffix=r"(_\d+)?",
    phantom="|".join(PHANTOMS),
    block=r"\d{4}-\d{4}",
    arm="|".join(PARAMS.arms),


def overlays(wildcards, input):
    """Give the options that make a pasted command see the same parameters as this workflow.

    Taking `input` marks the value as derived, so that Snakemake does not rerun a job only because
    the same parameters came by another way.
    """
    files = [f"--overlay {path}" for path in workflow.overwrite_configfiles]
    values = [
        f"--set '{key}={json.dumps(value)}'" for key, value in workflow.overwrite_config.items()
    ]
    return " ".join(files + values)


def triggers(step):
    """Give the parameters that a step's output depends on."""
    return STEPS[step].triggers(PARAMS)


def code(step):
    """Give the modules that a step's output depends on."""
    return STEPS[step].code


def archives():
    """Give the mixture's image files in the order of its datasets."""
    return [
        (
            f"<data>/phantoms/{name}.npz"
            if is_phantom(name)
            else f"<data>/raw/{source(name, PARAMS.data.size).file_name}"
        )
        for name in PARAMS.mixture.datasets
    ]


def archive_options(wildcards, input):
    """Give the mixture's image files as command line options."""
    return " ".join(f"--archive {path}" for path in input.archives)


def folder_of(path):
    """Give the folder of a file, or of the first of several files."""
    return str(Path(path if isinstance(path, str) else path[0]).parent)
