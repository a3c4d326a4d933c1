"""The command line: one command a step, each a thin call into the step's module.

Heavy packages are imported inside the commands, so that ``medlabel --help`` answers at once.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medlabel import __version__
from medlabel import params as parameters
from medlabel.data import catalogue
from medlabel.errors import MedlabelError
from medlabel.steps import STEPS

if TYPE_CHECKING:
    from medlabel.benchmark.run import Teacher

app = typer.Typer(
    help="Label medical images without a human labeller, and measure how well that works.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Target = Annotated[Path, typer.Option(help="File to write.")]
Archives = Annotated[
    list[Path],
    typer.Option("--archive", help="MedMNIST-layout .npz; one a dataset of the mixture, in order."),
]
Pool = Annotated[Path, typer.Option(help="Table of the images that may be drawn.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads for torch.")]
Pseudolabels = Annotated[Path, typer.Option(help="Folder of pseudo-labels.")]
Students = Annotated[Path, typer.Option(help="Folder of the students' predictions and curves.")]
EncodersFolder = Annotated[Path, typer.Option("--encoders", help="Folder of encoders.")]


class State:
    """The parameters that the options before the command select."""

    files: list[Path]
    overrides: list[str]

    @classmethod
    def params(cls) -> parameters.Params:
        """Read and check the parameters."""
        return parameters.read(cls.files, cls.overrides)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def configure(
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
    overlay: Annotated[
        list[Path] | None, typer.Option(help="Overlay such as config/demo.yaml; repeatable.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="key.path=value; repeatable.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Select the parameters for the command that follows."""
    State.files = [params, *(overlay or [])]
    State.overrides = list(override or [])


@app.command(help=STEPS["fetch"].does)
def fetch(
    dataset: Annotated[str, typer.Argument(help="MedMNIST flag, such as breastmnist.")],
    target: Target,
    size: Annotated[
        int | None, typer.Option(help="Edge in pixels or voxels; data.size if not given.")
    ] = None,
) -> None:
    """Fetch one official file and write its checksums and licence beside it."""
    from medlabel.data import medmnist

    settings = STEPS["fetch"].settings(State.params())
    medmnist.fetch(dataset, size or settings["data.size"], target, settings["data"])


@app.command(help=STEPS["phantoms"].does)
def phantoms(
    folder: Annotated[Path, typer.Option(help="Folder to write the .npz and captions to.")],
) -> None:
    """Draw phantoms in MedMNIST's layout, one file a kind."""
    from medlabel.data import phantoms as drawing

    settings = STEPS["phantoms"].settings(State.params())
    for kind in catalogue.PHANTOMS:
        drawing.write(
            kind,
            folder / f"{kind}.npz",
            folder / f"{kind}.captions.parquet",
            settings["phantoms"],
            settings["seed"],
        )


@app.command(help=STEPS["pool"].does)
def pool(
    archive: Archives,
    target: Target,
    audit: Annotated[Path, typer.Option(help="JSON of duplicate images to write.")],
) -> None:
    """List the eligible images and audit them for duplicates across roles."""
    from medlabel.data import mixtures

    settings = STEPS["pool"].settings(State.params())
    mixture = settings["mixture"]
    archives = _archives(mixture, archive)
    size = settings["data.size"]
    mixtures.write_pool(mixture, archives, size, target, settings["seed"])
    mixtures.write_audit(target, archives, size, audit)


@app.command(help=STEPS["mix"].does)
def mix(
    pool: Pool,
    block: Annotated[str, typer.Option(help="Seeds, first-last, such as 0000-0014.")],
    target: Target,
) -> None:
    """Draw the images of each seed."""
    from medlabel.data import mixtures

    settings = STEPS["mix"].settings(State.params())
    mixtures.write_draw(settings["mixture"], pool, block, target, settings["seed"])


@app.command(help=STEPS["pretrain"].does)
def pretrain(
    phantoms: Annotated[Path, typer.Option(help="Folder of phantoms and their captions.")],
    encoders: EncodersFolder,
    resume: Annotated[Path, typer.Option(help="Folder for the state of an unfinished training.")],
    threads: Threads = 1,
) -> None:
    """Train on captioned phantoms."""
    from medlabel.teacher import pretrain as training

    params = State.params()
    settings = STEPS["pretrain"].settings(params)
    kinds = [kind for kind in catalogue.PHANTOMS if not catalogue.is_volumetric(kind)]
    checkpoints = settings["pretrain"].checkpoints
    training.pretrain(
        archives={kind: phantoms / f"{kind}.npz" for kind in kinds},
        captions={kind: phantoms / f"{kind}.captions.parquet" for kind in kinds},
        folders=dict(
            zip(checkpoints, (encoders / name for name in params.checkpoints), strict=True)
        ),
        settings=settings["pretrain"],
        size=settings["phantoms.size"],
        device=settings["device"],
        threads=threads,
        seed=settings["seed"],
        resume=resume,
    )


@app.command(help=STEPS["adopt"].does)
def adopt(
    encoder: Annotated[Path, typer.Option(help="Folder of the encoder to write.")],
) -> None:
    """Download or copy a published model and record its checksum."""
    from medlabel.teacher import encoder as encoders

    encoders.adopt(STEPS["adopt"].settings(State.params())["teacher"], encoder)


@app.command(help=STEPS["embed"].does)
def embed(
    archive: Archives,
    pool: Pool,
    encoders: EncodersFolder,
    embeddings: Annotated[Path, typer.Option(help="Folder of embeddings to write.")],
    cache: Annotated[Path, typer.Option(help="Folder of embeddings by content; never stale.")],
    threads: Threads = 1,
) -> None:
    """Embed the pool with every encoder of the study."""
    from medlabel.teacher import embed as embedding

    params = State.params()
    settings = STEPS["embed"].settings(params)
    embedding.embed(
        encoders=[encoders / name for name in params.encoders],
        archives=_archives(params.mixture, archive),
        pool=pool,
        targets=[embeddings / f"{name}.parquet" for name in params.encoders],
        settings=settings["embed"],
        cache=cache,
        device=settings["device"],
        threads=threads,
    )


@app.command(help=STEPS["pseudolabel"].does)
def pseudolabel(
    pool: Pool,
    encoders: EncodersFolder,
    embeddings: Annotated[Path, typer.Option(help="Folder of embeddings.")],
    pseudolabels: Annotated[Path, typer.Option(help="Folder of pseudo-labels to write.")],
    threads: Threads = 1,
) -> None:
    """Label the pool with every encoder of the study."""
    from medlabel.teacher import zeroshot

    params = State.params()
    settings = STEPS["pseudolabel"].settings(params)
    zeroshot.write(
        encoders=[encoders / name for name in params.encoders],
        embeddings=[embeddings / f"{name}.parquet" for name in params.encoders],
        pool=pool,
        targets=[pseudolabels / f"{name}.parquet" for name in params.encoders],
        settings=settings["pseudolabel"],
        classes=params.mixture.class_names,
        device=settings["device"],
        threads=threads,
    )


@app.command(help=STEPS["students"].does)
def students(
    archive: Archives,
    draw: Annotated[Path, typer.Option(help="Table of the images of each seed.")],
    block: Annotated[str, typer.Option(help="Seeds, first-last, such as 0000-0014.")],
    arm: Annotated[str, typer.Option(help="true, permuted_<encoder> or teacher_<encoder>.")],
    predictions: Annotated[Path, typer.Option(help="Table to write: test probabilities.")],
    curves: Annotated[Path, typer.Option(help="Table to write: loss and accuracy by epoch.")],
    weights: Annotated[Path, typer.Option(help="Safetensors to write: weights of chosen seeds.")],
    pseudolabels: Annotated[
        Path | None, typer.Option(help="Table of pseudo-labels; not for true labels.")
    ] = None,
    threads: Threads = 1,
) -> None:
    """Train one student for each seed of the block."""
    from medlabel.student import students as training

    params = State.params()
    settings = STEPS["students"].settings(params)
    if arm not in params.arms:
        raise MedlabelError(f"--arm: {arm!r} given; one of {', '.join(params.arms)} expected.")
    labels, _, _ = arm.partition("_")
    training.train_block(
        draw=draw,
        archives=_archives(params.mixture, archive),
        pseudolabels=pseudolabels,
        labels=training.Labels(labels),
        block=block,
        predictions=predictions,
        curves=curves,
        weights=weights,
        settings=settings["student"],
        pseudolabel=settings["pseudolabel"],
        classes=params.mixture.class_names,
        size=settings["data.size"],
        keep_weights=settings["study.keep_weights"],
        device=settings["device"],
        threads=threads,
        seed=settings["seed"],
    )


@app.command(help=STEPS["study"].does)
def study(
    draws: Annotated[Path, typer.Option(help="Folder of the images of each seed.")],
    pseudolabels: Pseudolabels,
    students: Students,
    target: Annotated[Path, typer.Option(help="JSON to write: means, intervals, tests.")],
    scores: Annotated[Path, typer.Option(help="CSV to write: the scores of each seed.")],
    curve: Annotated[Path, typer.Option(help="CSV to write: students against teachers.")],
) -> None:
    """Score and test; nothing is trained."""
    from medlabel.evaluate import study as evaluation

    params = State.params()
    settings = STEPS["study"].settings(params)
    mixture = settings["mixture"]
    evaluation.write(
        mixture=mixture.name,
        phantom=mixture.phantom,
        classes=mixture.class_names,
        draws=[draws / f"{block}.parquet" for block in params.seed_blocks],
        pseudolabels={name: pseudolabels / f"{name}.parquet" for name in params.encoders},
        students={
            arm: _tables(students / arm, blocks, "predictions")
            for arm, blocks in params.arms.items()
        },
        study_encoder=params.study_encoder,
        settings=settings["study"],
        pseudolabel=settings["pseudolabel"],
        seed=settings["seed"],
        study=target,
        scores=scores,
        curve=curve,
    )


@app.command(help=STEPS["report"].does)
def report(
    archive: Archives,
    phantoms: Annotated[Path, typer.Option(help="Folder of phantoms.")],
    pool: Pool,
    encoders: EncodersFolder,
    pseudolabels: Pseudolabels,
    students: Students,
    study: Annotated[Path, typer.Option(help="JSON of the study.")],
    scores: Annotated[Path, typer.Option(help="CSV of the scores of each seed.")],
    published: Annotated[Path, typer.Option(help="CSV of published values.")],
    figures: Annotated[Path, typer.Option(help="Folder of figures to write.")],
    tables: Annotated[Path, typer.Option(help="Markdown to write.")],
    page: Annotated[Path, typer.Option(help="HTML to write.")],
) -> None:
    """Draw; nothing is trained."""
    from medlabel.report import report as reporting

    params = State.params()
    folder = students / f"teacher_{params.study_encoder}"
    inputs = reporting.Inputs(
        archives=_archives(params.mixture, archive),
        phantoms={kind: phantoms / f"{kind}.npz" for kind in catalogue.PHANTOMS},
        pool=pool,
        pseudolabels=pseudolabels / f"{params.study_encoder}.parquet",
        curves=_tables(folder, params.seed_blocks, "curves"),
        predictions=_tables(folder, params.seed_blocks, "predictions"),
        provenance=encoders / params.study_encoder / "provenance.json",
        study=study,
        scores=scores,
        published=published,
    )
    reporting.write(inputs, params, figures, tables, page)


def _tables(folder: Path, blocks: list[str], name: str) -> list[Path]:
    return [folder / block / f"{name}.parquet" for block in blocks]


def _archives(mixture: parameters.Mixture, paths: list[Path]) -> dict[str, Path]:
    if len(paths) != len(mixture.datasets):
        raise MedlabelError(
            f"--archive: {len(paths)} given; one file for each of {', '.join(mixture.datasets)} "
            f"expected, in this order."
        )
    return dict(zip(mixture.datasets, paths, strict=True))


@app.command(help=STEPS["vessels"].does)
def vessels(target: Target) -> None:
    """Draw vessels with and without an aneurysm, in MedMNIST's layout."""
    from medlabel.data import phantoms as drawing

    settings = STEPS["vessels"].settings(State.params())
    counts = settings["benchmark.phantom_volumes"].model_dump()
    drawing.write(
        "phantom_vessel3d",
        target,
        target.with_suffix(".captions.parquet"),
        settings["phantoms"].model_copy(update={"counts": parameters.PhantomCounts(**counts)}),
        settings["seed"],
    )


@app.command(help=STEPS["benchmark"].does)
def benchmark(
    row: Annotated[str, typer.Option(help="dataset/model/recipe.")],
    number: Annotated[int, typer.Option("--repeat", min=0, help="Which repeat, from 0.")],
    archive: Annotated[Path, typer.Option(help="The dataset's .npz.")],
    folder: Annotated[Path, typer.Option(help="Folder of the run to write.")],
    resume: Annotated[Path, typer.Option(help="File for the state after each epoch.")],
    start: Annotated[
        Path | None, typer.Option(help="Weights to start from, where the recipe takes a row's.")
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="Weights of the row that the recipe distils."),
    ] = None,
    threads: Threads = 1,
) -> None:
    """Train one repeat of a row of the benchmark."""
    from medlabel.benchmark import run as benchmarks

    params = State.params()
    found = params.benchmark.find(row)
    benchmarks.run(
        found,
        params.benchmark.require_recipe(found),
        number,
        archive,
        start,
        _teacher(params.benchmark, found, teacher),
        benchmarks.Outputs(
            folder / "predictions.parquet",
            folder / "curve.parquet",
            folder / "run.json",
            folder / "weights.safetensors",
        ),
        resume,
        params.device,
        threads,
        params.seed,
    )


def _teacher(
    settings: parameters.Benchmark, row: parameters.Row, weights: Path | None
) -> Teacher | None:
    from medlabel.benchmark.run import Teacher

    teacher = settings.teacher_of(row)
    if teacher is None:
        return None
    if weights is None:
        raise MedlabelError(
            f"{row.name}: its recipe distils from {teacher.name}; give that run's weights with "
            f"--teacher."
        )
    return Teacher(teacher, settings.require_recipe(teacher), weights)


@app.command(help=STEPS["compare"].does)
def compare(
    runs: Annotated[Path, typer.Option(help="Folder of the benchmark's runs.")],
    published: Annotated[Path, typer.Option(help="CSV of published values.")],
    target: Annotated[Path, typer.Option(help="JSON to write.")],
    table: Annotated[Path, typer.Option(help="CSV to write.")],
) -> None:
    """Score and compare; nothing is trained."""
    from medlabel.evaluate import compare as comparison

    params = State.params()
    comparison.write(
        runs=_runs(params.benchmark, runs),
        settings=params.benchmark,
        published=published,
        seed=params.seed,
        target=target,
        table=table,
    )


@app.command(name="benchmark_report", help=STEPS["benchmark_report"].does)
def benchmark_report(
    comparison: Annotated[Path, typer.Option(help="JSON that compare wrote.")],
    runs: Annotated[Path, typer.Option(help="Folder of the benchmark's runs.")],
    archive: Annotated[
        list[Path], typer.Option(help="The .npz of each dataset of benchmark.rows, in order.")
    ],
    figures: Annotated[Path, typer.Option(help="Folder of figures to write.")],
    tables: Annotated[Path, typer.Option(help="Markdown to write.")],
    page: Annotated[Path, typer.Option(help="HTML to write.")],
) -> None:
    """Draw; nothing is trained."""
    from medlabel.report.benchmark import report as reporting

    params = State.params()
    datasets = params.benchmark.datasets
    if len(archive) != len(datasets):
        raise MedlabelError(
            f"--archive: {len(archive)} given; one file for each of {', '.join(datasets)} "
            f"expected, in this order."
        )
    reporting.write(
        comparison=comparison,
        runs=_runs(params.benchmark, runs),
        archives=dict(zip(datasets, archive, strict=True)),
        settings=params.benchmark,
        seed=params.seed,
        figures=figures,
        tables=tables,
        page=page,
    )


def _runs(settings: parameters.Benchmark, folder: Path) -> dict[str, list[Path]]:
    return {
        row.name: [folder / row.name / f"{repeat:03d}" for repeat in range(row.seeds)]
        for row in settings.rows
    }


@app.command(help="Label your own images: a folder of PNG, JPEG or other files.")
def label(
    images: Annotated[Path, typer.Argument(help="Folder, searched with its subfolders.")],
    encoder: Annotated[Path, typer.Option(help="Folder that pretrain or adopt wrote.")],
    target: Annotated[Path, typer.Option(help="CSV to write: file, label, probabilities.")],
    threads: Threads = 1,
) -> None:
    """Label images by the prompts of params.yaml."""
    from medlabel.teacher import label as labelling

    params = State.params()
    labelling.label(
        images=images,
        folder=encoder,
        target=target,
        words=params.pseudolabel,
        settings=params.embed,
        device=params.device,
        threads=threads,
    )


@app.command(help="Write the JSON schema of params.yaml.")
def schema(target: Target) -> None:
    """Write the JSON schema of params.yaml."""
    from medlabel.files import replacing

    with replacing(target) as partial:
        partial.write_text(parameters.schema(), encoding="utf-8")


@app.command(help="Write DVC's stages, dvc.yaml and the benchmarks', from the table of steps.")
def stages() -> None:
    """Write DVC's stages."""
    from medlabel.files import replacing
    from medlabel.stages import BENCHMARKS_FILE, benchmarks_yaml, dvc_yaml

    for target, text in (("dvc.yaml", dvc_yaml()), (BENCHMARKS_FILE, benchmarks_yaml())):
        with replacing(Path(target)) as partial:
            partial.write_text(text, encoding="utf-8")


def main() -> None:
    """Run the command line; an expected failure is one line and status 1."""
    logging.getLogger("medlabel").setLevel(logging.INFO)
    logging.basicConfig(
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
    try:
        app()
    except MedlabelError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"medlabel: error: {line}\n")
        sys.exit(1)
