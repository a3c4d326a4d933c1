"""Where everything lies: the one place that names files, for rules and commands alike.

Parts of names may be wildcards such as ``"{images}"``, as Snakemake's rules need them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medlabel.data import catalogue
from medlabel.params import EncoderReference, ManySets, Mixture, Params, Trained, pool_name

ENCODER_FILES = ("open_clip_config.json", "open_clip_model.safetensors", "provenance.json")
TRAINING_FILES = ("predictions.parquet", "curves.parquet", "run.json", "weights.safetensors")
CURVE_FILES = ("scores.csv", "tables.md", "curves.svg", "curves.png")
AGREEMENT_FILES = ("scores.csv", "tables.md", "agreement.svg", "agreement.png")
COMPARED_FILES = ("scores.csv", "tables.md", "encoders.svg", "encoders.png")
CONCEPT_FILES = ("scores.csv", "tables.md", "concepts.svg", "concepts.png")
WITHOUT_LABELS_FILES = (
    "scores.csv",
    "tables.md",
    "gain.svg",
    "gain.png",
    "shares.svg",
    "shares.png",
    "estimates.svg",
    "estimates.png",
)
MANY_SETS_FILES = (
    "scores.csv",
    "tables.md",
    "confusion.csv",
    "sets.svg",
    "sets.png",
    "confusion.svg",
    "confusion.png",
)
GENERATED_FILES = ("network.safetensors", "synthetic.npz")
GENERATION_FILES = (
    "synthetic_scores.csv",
    "synthetic_tables.md",
    "synthetic_images.svg",
    "synthetic_images.png",
    "synthetic_scores.svg",
    "synthetic_scores.png",
)
RETRIEVAL_FILES = (
    "scores.csv",
    "tables.md",
    "similarity.svg",
    "similarity.png",
    "found.svg",
    "found.png",
    "captions.svg",
    "captions.png",
)
SEGMENTATION_FILES = (
    "scores.csv",
    "tables.md",
    "regions.svg",
    "regions.png",
    "maps.svg",
    "maps.png",
    "shown.svg",
    "shown.png",
)
PUBLISHED = "resources/published_results.csv"


@dataclass(frozen=True)
class Layout:
    """Names of all files below two folders: of `data`, and of `results` that readers see."""

    data: str
    results: str

    def archive(self, dataset: str, size: int) -> str:
        """Images of a dataset, in MedMNIST's layout."""
        if catalogue.is_phantom(dataset):
            return self.phantoms(dataset, size)
        return self.raw(catalogue.file_stem(dataset, size))

    def raw(self, stem: str) -> str:
        """Return an official file, such as ``pneumoniamnist_224``."""
        return f"{self.data}/raw/{stem}.npz"

    def phantoms(self, kind: str, size: int | str) -> str:
        """Drawn images of a kind."""
        return f"{self.data}/phantoms/{size}/{kind}.npz"

    def captions(self, kind: str, size: int | str) -> str:
        """Captions of the phantoms of a kind."""
        return f"{self.data}/phantoms/{size}/{kind}.captions.parquet"

    def said(self, stem: str) -> str:
        """Captions of an official file."""
        return f"{self.data}/captions/{stem}.parquet"

    def captions_of(self, mixture: Mixture) -> dict[str, str]:
        """Captions by dataset, of the images of a mixture."""
        return {
            name: self.captions(name, mixture.size)
            if catalogue.is_phantom(name)
            else self.said(catalogue.file_stem(name, mixture.size))
            for name in mixture.datasets
        }

    def archives(self, images: Mixture | str) -> dict[str, str]:
        """Image files by dataset, of a mixture or of one official file or phantom."""
        if isinstance(images, str):
            dataset, size = catalogue.parse(images)
            return {dataset: self.archive(dataset, size)}
        return {
            name: self.stand_in(name, images.size)
            if name in images.stand_ins
            else self.archive(name, images.size)
            for name in images.datasets
        }

    def pool(self, mixture: str) -> str:
        """Every image that the seeds of a mixture may draw."""
        return f"{self.data}/pools/{mixture}.parquet"

    def duplicates(self, mixture: str) -> str:
        """Images of a pool that are byte for byte the same."""
        return f"{self.data}/pools/{mixture}.duplicates.json"

    def encoder(self, reference: EncoderReference | str) -> str:
        """Folder of one set of weights."""
        return f"{self.data}/encoders/{reference}"

    def encoder_files(self, references: Sequence[EncoderReference | str]) -> list[str]:
        """Return every file of some encoders."""
        return [path for one in references for path in self.files_of(self.encoder(one))]

    @staticmethod
    def files_of(folder: str) -> list[str]:
        """Return every file of an encoder's folder."""
        return [f"{folder}/{name}" for name in ENCODER_FILES]

    def embeddings(self, pool: str, encoder: str) -> str:
        """Embeddings of a pool by all weights of an encoder in use, a column each."""
        return f"{self.data}/embeddings/{pool}/{encoder}.parquet"

    def words(self, encoder: str, prompts: str) -> str:
        """Embeddings of all classes' words by all weights of an encoder in use, a column each."""
        return f"{self.data}/words/{encoder}/{prompts}.parquet"

    def labels(self, images: str, labels: str) -> str:
        """Return the labels of a pool: ``<encoder>+<prompts>+<labelling>``."""
        return f"{self.data}/labels/{images}/{labels}.parquet"

    def training(self, name: str, block: str) -> str:
        """Folder of the trainings of a block of seeds; `name` as `Trained.name` has it."""
        return f"{self.data}/trainings/{name}/{block}"

    def resume(self, name: str, block: str) -> str:
        """State of an unfinished training."""
        return f"{self.data}/cache/trainings/{name}/{block}.pt"

    def log(self, step: str, name: str) -> str:
        """Messages of a job."""
        return f"{self.data}/logs/{step}/{name}.log"

    def timing(self, step: str, name: str) -> str:
        """Time and memory of a job."""
        return f"{self.data}/timings/{step}/{name}.tsv"

    def study(self, study: str, file: str) -> str:
        """Return a result of a study."""
        return f"{self.results}/{study}/{file}"

    def curve(self, name: str, file: str) -> str:
        """Return a result of a learning curve."""
        return f"{self.results}/few_labels/{name}/{file}"

    def without_labels(self, name: str, file: str) -> str:
        """Return a result of labellings side by side."""
        return f"{self.results}/without_labels/{name}/{file}"

    def retrieval(self, name: str, file: str) -> str:
        """Return a result of a search."""
        return f"{self.results}/retrieval/{name}/{file}"

    def agreement(self, name: str, file: str) -> str:
        """Return a result of comparing two labellers."""
        return f"{self.results}/agreement/{name}/{file}"

    def stand_in(self, name: str, size: int | str) -> str:
        """STAND-IN for an official set, drawn."""
        return f"{self.data}/stand_ins/{size}/{name}.npz"

    def sets_of(self, many: ManySets) -> dict[str, str]:
        """Image files by set, official ones or STAND-INS."""
        if many.drawn:
            return {name: self.stand_in(name, many.size) for name in many.sets}
        return self.archives(many.mixture)

    def many_sets_data(self, name: str, file: str) -> str:
        """Return a large file of an entry of `many_sets`: its pool, embeddings, models."""
        return f"{self.data}/many_sets/{name}/{file}"

    def many_sets(self, name: str, file: str) -> str:
        """Return a result of one model for many sets."""
        return f"{self.results}/many_sets/{name}/{file}"

    def concepts(self, name: str, file: str) -> str:
        """Return a result of telling concepts."""
        return f"{self.results}/concepts/{name}/{file}"

    def compared(self, name: str, file: str) -> str:
        """Return a result of comparing encoders."""
        return f"{self.results}/compared/{name}/{file}"

    def generated(self, name: str, file: str) -> str:
        """Return a network that makes SYNTHETIC images, or the images that it made."""
        return f"{self.data}/generated/{name}/{file}"

    def generation(self, name: str, file: str) -> str:
        """Return a result of judging SYNTHETIC images."""
        return f"{self.results}/generation/{name}/{file}"

    def segmentation(self, name: str, file: str) -> str:
        """Return a result of finding what words say in images."""
        return f"{self.results}/segmentation/{name}/{file}"

    @property
    def metrics(self) -> str:
        """Headline metrics of the default studies."""
        return f"{self.results}/metrics.json"

    def blocks(self, params: Params, trained: Trained, seeds: int, file: str) -> list[str]:
        """Return a file of each block of some seeds of a training."""
        return [
            f"{self.training(trained.name, block)}/{file}"
            for block in params.blocks(trained, seeds)
        ]

    def pool_of(self, images: str) -> str:
        """Return the pool that the images of a mixture, or of a member of one, are drawn from."""
        return self.pool(pool_name(images))


def of(params: Params) -> Layout:
    """Return the layout below the folders of some parameters."""
    return Layout(params.folders.data, params.folders.results)
