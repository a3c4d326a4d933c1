"""Captions of MedMNIST's images, from its descriptions and labels, by the phantoms' grammar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from medlabel import files
from medlabel.data import archive, catalogue
from medlabel.data.phantoms.captions import NORMAL, VOCABULARIES, Vocabulary, say
from medlabel.errors import MedlabelError
from medlabel.progress import track
from medlabel.randomness import stream

NO_FINDING = "no finding"


@dataclass(frozen=True)
class Described:
    """What is said of the images of a dataset.

    Attributes
    ----------
    kind
        The phantoms that show the same, or the dataset's own name where none do.
    words
        Its findings are in the order of the dataset's labels. Where an image may carry several
        labels, one more comes last: that it carries none.
    """

    kind: str
    words: Vocabulary

    @property
    def findings(self) -> tuple[str, ...]:
        """Names of what the labels mean, in label order."""
        return tuple(self.words.findings)


def _as_phantoms(kind: str) -> Described:
    """Describe a dataset whose labels are the findings of a phantom, in the same order."""
    return Described(kind, VOCABULARIES[kind])


def _alone(dataset: str, words: Vocabulary) -> Described:
    return Described(dataset, words)


_ORGANS = {
    "bladder": ("the bladder", "the urinary bladder"),
    "femur-left": ("the left femur", "the left thigh bone"),
    "femur-right": ("the right femur", "the right thigh bone"),
    "heart": ("the heart",),
    "kidney-left": ("the left kidney",),
    "kidney-right": ("the right kidney",),
    "liver": ("the liver",),
    "lung-left": ("the left lung",),
    "lung-right": ("the right lung",),
    "pancreas": ("the pancreas",),
    "spleen": ("the spleen",),
}
_ORGANS_OF_VOLUMES = (
    "liver",
    "kidney-right",
    "kidney-left",
    "femur-right",
    "femur-left",
    "bladder",
    "heart",
    "lung-right",
    "lung-left",
    "spleen",
    "pancreas",
)


def _organs(dataset: str, plane: str, order: Sequence[str] = tuple(_ORGANS)) -> Described:
    return _alone(
        dataset,
        Vocabulary(
            (f"{plane} abdominal CT", f"{plane} CT slice" if dataset[-2:] != "3d" else "a body CT"),
            ("a CT image", "a computed tomogram"),
            ("abdomen", "trunk"),
            {organ: _ORGANS[organ] for organ in order},
        ),
    )


# Labels' meanings: medmnist.INFO; images: Yang et al. 2023 (MedMNIST v2), section "Data records".
DESCRIBED = MappingProxyType(
    {
        "pathmnist": _as_phantoms("phantom_colon"),
        "chestmnist": Described(
            "phantom_chest",
            replace(
                VOCABULARIES["phantom_chest"],
                findings={
                    "atelectasis": ("atelectasis", "a collapsed lung segment"),
                    "cardiomegaly": ("cardiomegaly", "an enlarged heart"),
                    "effusion": ("a pleural effusion", "an effusion"),
                    "infiltration": ("an infiltration", "an infiltrate"),
                    "mass": ("a mass", "a lung mass"),
                    "nodule": ("a nodule", "a lung nodule"),
                    "pneumonia": ("pneumonia",),
                    "pneumothorax": ("a pneumothorax",),
                    "consolidation": ("consolidation",),
                    "edema": ("pulmonary edema", "pulmonary oedema"),
                    "emphysema": ("emphysema",),
                    "fibrosis": ("fibrosis", "pulmonary fibrosis"),
                    "pleural": ("pleural thickening",),
                    "hernia": ("a hiatal hernia", "a hernia"),
                    NO_FINDING: NORMAL,
                },
            ),
        ),
        "dermamnist": _as_phantoms("phantom_skin"),
        "octmnist": _as_phantoms("phantom_oct"),
        "pneumoniamnist": _as_phantoms("phantom_chest"),
        "retinamnist": _as_phantoms("phantom_retina"),
        "breastmnist": Described(
            "phantom_breast",
            replace(
                VOCABULARIES["phantom_breast"],
                findings={
                    "malignant mass": ("a malignant mass", "a spiculated mass", "a carcinoma"),
                    # MedMNIST counts both as one class.
                    "normal or benign": ("a benign mass", "a cyst", "a fibroadenoma", *NORMAL),
                },
            ),
        ),
        "bloodmnist": _as_phantoms("phantom_blood"),
        "tissuemnist": _alone(
            "tissuemnist",
            Vocabulary(
                ("a kidney cortex micrograph", "a fluorescence micrograph"),
                ("a micrograph", "a microscope image"),
                ("kidney cortex", "kidney"),
                {
                    "collecting duct": ("a collecting duct", "a connecting tubule"),
                    "distal tubule": ("a distal convoluted tubule",),
                    "glomerular cell": ("a glomerular endothelial cell",),
                    "interstitial cell": ("an interstitial endothelial cell",),
                    "leukocyte": ("a leukocyte", "a white blood cell"),
                    "podocyte": ("a podocyte",),
                    "proximal tubule": ("a proximal tubule segment",),
                    "thick ascending limb": ("a thick ascending limb",),
                },
            ),
        ),
        "organamnist": _organs("organamnist", "an axial"),
        "organcmnist": _organs("organcmnist", "a coronal"),
        "organsmnist": _organs("organsmnist", "a sagittal"),
        "organmnist3d": _organs("organmnist3d", "a 3-D", _ORGANS_OF_VOLUMES),
        "nodulemnist3d": _alone(
            "nodulemnist3d",
            Vocabulary(
                ("a thoracic CT", "a low-dose chest CT"),
                ("a CT volume", "a computed tomogram"),
                ("lung", "thorax"),
                {
                    "benign nodule": ("a benign nodule", "a granuloma"),
                    "malignant nodule": ("a malignant nodule", "a lung cancer"),
                },
            ),
        ),
        "adrenalmnist3d": _alone(
            "adrenalmnist3d",
            Vocabulary(
                ("an adrenal CT", "a segmented adrenal gland"),
                ("a CT volume", "a segmented volume"),
                ("adrenal gland",),
                {
                    "normal": NORMAL,
                    "hyperplasia": ("hyperplasia", "adrenal hyperplasia", "an adrenal mass"),
                },
            ),
        ),
        "fracturemnist3d": _alone(
            "fracturemnist3d",
            Vocabulary(
                ("a rib CT", "a chest CT"),
                ("a CT volume", "a computed tomogram"),
                ("rib", "thorax"),
                {
                    "buckle fracture": ("a buckle rib fracture",),
                    "nondisplaced fracture": ("a nondisplaced rib fracture",),
                    "displaced fracture": ("a displaced rib fracture",),
                },
            ),
        ),
        "vesselmnist3d": _as_phantoms("phantom_vessel3d"),
        "synapsemnist3d": _alone(
            "synapsemnist3d",
            Vocabulary(
                ("a brain electron micrograph", "an electron microscopy volume"),
                ("an electron micrograph", "a microscope volume"),
                ("rat brain", "neural tissue"),
                {
                    "inhibitory synapse": ("an inhibitory synapse",),
                    "excitatory synapse": ("an excitatory synapse",),
                },
            ),
        ),
    }
)


def write(stem: str, path: Path, target: Path, seed: int) -> None:
    """Write a caption for every image of an official file.

    Parameters
    ----------
    stem
        Of its name, such as ``pneumoniamnist`` or ``pneumoniamnist_224``.
    path
        The .npz.
    target
        A Parquet table like that of phantoms: split, row, kind, finding, style, caption. Several
        findings of an image are joined by " and ".
    seed
        Root of the random streams. The caption of an image does not depend on its size.

    Raises
    ------
    MedlabelError
        When there is no such official file, or it is missing or damaged.
    """
    import pandas as pd

    try:
        dataset, size = catalogue.parse(stem)
    except ValueError as error:
        raise MedlabelError(f"captions: {error}.") from error
    if dataset not in DESCRIBED:
        raise MedlabelError(
            f"captions: {stem!r} given, whose captions `medlabel phantoms` writes; an official "
            f"file expected."
        )
    described = DESCRIBED[dataset]
    given = archive.read(path, dataset, size)
    rows = []
    for split in archive.SPLITS:
        labels = given.labels[split]
        for row, one in enumerate(track(labels, f"captions {split}", len(labels))):
            findings = _findings(described, one)
            rng = stream(seed, "caption", dataset, split, row)
            style, sentence = say(rng, described.words, findings)
            rows.append((split, row, described.kind, " and ".join(findings), style, sentence))
    table = pd.DataFrame(rows, columns=["split", "row", "kind", "finding", "style", "caption"])
    files.write_parquet(target, table.astype({"row": np.int32}))


def _findings(described: Described, label: archive.Labels) -> list[str]:
    """Return what a label (1,), or the marks (labels,) of several, say of an image."""
    if len(label) == 1:
        return [described.findings[int(label[0])]]
    return [described.findings[one] for one in np.flatnonzero(label)] or [NO_FINDING]
