"""Folders whose labels are sure and wrong, or whose images come from two sources: verdicts on them.

Folders are drawn from official images and phantoms. *Two sources*: one half of the images is given
another contrast, blur or border, and one class is 50, 80 or 95 % of one half and the rest of the
other. *Wrong*: sentences under swapped names, names that say nothing, two sources of a single
class, kinds that no class names, inverted images. *Clean*: as they come. Each is labelled and
judged as `medlabel label` does.

    python bench/wrong_folders.py --out results/bench/wrong_folders.csv          # to the end
    python bench/wrong_folders.py --splits train --seeds 100 101                 # to choose by
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from medlabel import compute, files
from medlabel.annotation import embedding, labelling, looks, naming
from medlabel.data import archive
from medlabel.data.pixels import Pixels
from medlabel.labels import sources, zeroshot
from medlabel.randomness import stream
from medlabel.teacher import encoder, words

CAPSTONE = "This is a photo of the {}, and it's a type of organ"
SAID = {
    **{one: [CAPSTONE.format(one)] for one in ("chest", "breast", "vessel")},
    "normal": ["a chest x-ray with no finding"],
    "pneumonia": ["a chest x-ray with pneumonia"],
    "retina": ["a fundus photograph"],
    "skin": ["a photograph of the skin"],
    "brain": ["an MRI of the brain"],
    "hand": ["an x-ray of the hand"],
}
# Archive and, of those that count, label.
REAL = {
    "normal": ("pneumoniamnist", 0),
    "pneumonia": ("pneumoniamnist", 1),
    "breast": ("breastmnist", None),
    "vessel": ("vesselmnist3d", None),
}
DRAWN = ("retina", "skin", "brain", "hand")
PAIRS = [("normal", "pneumonia"), ("chest", "breast")]
EFFECTS = ("contrast", "blur", "border")
CONTRAST, BLUR, BORDER = 0.5, 1.0, 1 / 9  # a factor; pixels of 28; a part of the edge
TOGETHER = [0.5, 0.8, 0.95]  # share of the first class in one half, and of the second in the other
MOST = 300  # images a kind
EACH = 100  # images a class of a folder
POINT = 0.01
FLAG = "another scanner"  # of reasons
GOOD, BAD = 0.95, 0.8  # accuracies
ALL = "plain", "contrast", "blur", "border", "inverted"

Place = tuple[str, str, int]  # kind, effect, row


@dataclass(frozen=True)
class Folder:
    """Images with the class that they are of, -1 for none; and what is said of the classes."""

    group: str
    what: str
    images: Sequence[Place]
    truth: Sequence[int]
    sentences: dict[str, list[str]]
    effect: str = "plain"
    together: float = 0.5
    seed: int = 0


def main() -> None:
    """Judge every folder, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--encoder", default="locked")
    parser.add_argument("--splits", nargs="+", default=["val", "test"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="CSV to write")
    options = parser.parse_args()
    device = compute.prepare("cpu", options.threads)
    loaded = encoder.load(options.data / "encoders" / options.encoder, device)
    bank = Bank(loaded, pictures(options.data, options.splits), options.threads)
    found = [judged(one, bank) for seed in options.seeds for one in folders(bank.sizes, seed)]
    table = pd.DataFrame(found)
    if options.out:
        with files.replacing(options.out) as partial:
            table.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
    print(told(table).round(1).to_string())


def pictures(data: Path, splits: Sequence[str]) -> dict[str, Pixels]:
    """Return at most `MOST` images of each kind; of volumes their brightest voxels."""
    found = {}
    for kind, (name, label) in REAL.items():
        source = archive.read(data / "raw" / f"{name}.npz", name, 28)
        images = np.concatenate([np.asarray(source.images[split]) for split in splits])
        labels = np.concatenate([source.labels[split] for split in splits]).reshape(-1)
        flat = images if images.ndim == 3 else images.max(axis=1)
        found[kind] = flat if label is None else flat[labels == label]
    for kind in DRAWN:
        with np.load(data / "phantoms" / "28" / f"phantom_{kind}.npz") as drawn:
            found[kind] = np.concatenate([drawn[f"{split}_images"] for split in ("val", "test")])
    chosen = stream(0, "bench", "wrong folders", *splits)
    return {kind: chosen.permutation(images)[:MOST] for kind, images in found.items()}


def changed(image: Pixels, effect: str) -> Pixels:
    """Return an image as another source would have it."""
    wide = image.astype(np.float32)
    if effect == "contrast":
        wide = wide.mean() + CONTRAST * (wide - wide.mean())
    elif effect == "blur":
        wide = gaussian_filter(wide, (BLUR, BLUR, 0)[: wide.ndim])
    elif effect == "border":
        edge = round(BORDER * len(wide))
        wide[:edge] = wide[-edge:] = wide[:, :edge] = wide[:, -edge:] = 0
    elif effect == "inverted":
        wide = 255 - wide
    return np.uint8(np.clip(np.rint(wide), 0, 255))


class Bank:
    """All images with every effect: embeddings and looks, made once."""

    def __init__(self, loaded: encoder.Encoder, shown: dict[str, Pixels], threads: int) -> None:
        """Keep; nothing is embedded yet."""
        self.loaded, self.shown, self.threads = loaded, shown, threads
        self.sizes = {kind: len(images) for kind, images in shown.items()}

    @cached_property
    def places(self) -> dict[Place, int]:
        """Where each image stands."""
        every = ((k, e, r) for k, size in self.sizes.items() for e in ALL for r in range(size))
        return {place: number for number, place in enumerate(every)}

    @cached_property
    def pixels(self) -> list[Pixels]:
        """In the order of `places`."""
        return [changed(self.shown[kind][row], effect) for kind, effect, row in self.places]

    @cached_property
    def looks(self) -> np.ndarray:
        """As `medlabel.annotation.looks` has them."""
        return np.array([looks.look(one) for one in self.pixels])

    @cached_property
    def vectors(self) -> np.ndarray:
        """Embeddings."""
        settings = embedding.Settings(64, "fp32", self.threads, 0, Path())
        return embedding.embed_pixels(self.pixels, self.loaded, settings)

    def some(self, images: Sequence[Place]) -> tuple[np.ndarray, np.ndarray]:
        """Return embeddings and looks of images."""
        rows = [self.places[one] for one in images]
        return self.vectors[rows], self.looks[rows]


class Draw:
    """Draws images of a class without replacement; a chest is a normal or a pneumonia."""

    def __init__(self, sizes: dict[str, int], *purpose: str | int) -> None:
        """Shuffle."""
        random = stream(0, "bench", "wrong folders", *purpose)
        self.rows = {kind: random.permutation(size).tolist() for kind, size in sizes.items()}

    def some(self, name: str, count: int, effect: str = "plain") -> list[Place]:
        """Return images of a class."""
        if name == "chest":
            half = count // 2
            return self.some("normal", half, effect) + self.some("pneumonia", count - half, effect)
        rows, self.rows[name] = self.rows[name][:count], self.rows[name][count:]
        return [(name, effect, row) for row in rows]


def folders(sizes: dict[str, int], seed: int) -> Iterator[Folder]:
    """Draw all folders of a seed."""
    for maker in (clean, two_sources, swapped, one_class, unnamed, inverted):
        for folder in maker(sizes, seed):
            yield replace(folder, seed=seed)


def said(classes: Sequence[str]) -> dict[str, list[str]]:
    """Return what is said of classes."""
    return {name: SAID[name] for name in classes}


def drawn(draw: Draw, counts: dict[str, int], effect: str = "plain") -> tuple[Any, Any]:
    """Draw so many images of each class: places and truth."""
    images = [place for name, count in counts.items() for place in draw.some(name, count, effect)]
    return images, np.repeat(np.arange(len(counts)), list(counts.values())).tolist()


def clean(sizes: dict[str, int], seed: int) -> Iterator[Folder]:
    """Folders as they come, classes in various shares."""
    contents = [*PAIRS, ("chest", "vessel"), ("breast", "vessel"), ("chest", "breast", "vessel")]
    for classes, share in itertools.product(contents, [0.2, 0.5, 0.8]):
        draw = Draw(sizes, "clean", *classes, str(share), seed)
        rest = round(2 * EACH * (1 - share) / (len(classes) - 1))
        counts = {classes[0]: round(2 * EACH * share), **dict.fromkeys(classes[1:], rest)}
        yield Folder("clean", ", ".join(classes), *drawn(draw, counts), said(classes))
    for classes in [("retina", "skin"), ("brain", "hand"), ("retina", "skin", "brain", "hand")]:
        draw = Draw(sizes, "clean", *classes, seed)
        counts = dict.fromkeys(classes, EACH)
        yield Folder("clean", ", ".join(classes), *drawn(draw, counts), said(classes))


def two_sources(sizes: dict[str, int], seed: int) -> Iterator[Folder]:
    """Folders one half of which looks otherwise; by seed, more of the one class or the other."""
    for pair, effect, together in itertools.product(PAIRS, EFFECTS, TOGETHER):
        draw = Draw(sizes, "two sources", *pair, effect, str(together), seed)
        few, many = round((1 - together) * EACH), round(together * EACH)
        parts = [(0, few, effect), (0, many, "plain"), (1, many, effect), (1, few, "plain")]
        images: list[Place] = []
        truth: list[int] = []
        for label, count, how in parts:
            images += draw.some(pair[label if seed % 2 else 1 - label], count, how)
            truth += [label if seed % 2 else 1 - label] * count
        what = ", ".join(pair)
        yield Folder("two sources", what, images, truth, said(pair), effect, together)


def swapped(sizes: dict[str, int], seed: int) -> Iterator[Folder]:
    """Sentences under the other's name; then under names that say nothing."""
    pairs = [*PAIRS, ("chest", "vessel"), ("breast", "vessel"), ("retina", "skin")]
    for first, second in pairs:
        images, truth = drawn(Draw(sizes, "swapped", first, second, seed), {first: 80, second: 80})
        sentences = {first: SAID[second], second: SAID[first]}
        yield Folder("wrong", "swapped captions", images, truth, sentences)
        if (first, second) in PAIRS:
            nameless = dict(zip(("a", "b"), sentences.values(), strict=True))
            yield Folder("wrong", "swapped captions, mute names", images, truth, nameless)


def one_class(sizes: dict[str, int], seed: int) -> Iterator[Folder]:
    """Images of one class from two sources, which words are then asked to divide."""
    for name, effect in itertools.product(("normal", "pneumonia"), EFFECTS):
        draw = Draw(sizes, "one class", name, effect, seed)
        images = draw.some(name, 80) + draw.some(name, 80, effect)
        truth = [PAIRS[0].index(name)] * len(images)
        yield Folder("wrong", "source clusters", images, truth, said(PAIRS[0]), effect)


def unnamed(sizes: dict[str, int], seed: int) -> Iterator[Folder]:
    """Images of kinds that no class names."""
    for counts, classes in (
        ({"chest": 80, "vessel": 80}, ("chest", "breast")),
        ({"chest": 60, "breast": 60, "vessel": 60}, ("chest", "breast")),
        ({"vessel": 100}, ("chest", "breast")),
        ({"normal": 60, "pneumonia": 60, "breast": 60}, ("normal", "pneumonia")),
        ({"chest": 80, "breast": 80}, ("hand", "retina")),
        ({"retina": 80, "skin": 80}, ("brain", "hand")),
    ):
        images, kinds = drawn(Draw(sizes, "unnamed", *counts, *classes, seed), counts)
        places = [classes.index(name) if name in classes else -1 for name in counts]
        truth = [places[kind] for kind in kinds]
        yield Folder("wrong", "unnamed kind", images, truth, said(classes))


def inverted(sizes: dict[str, int], seed: int) -> Iterator[Folder]:
    """White for black, in all images or in half of them."""
    for pair, part in itertools.product([*PAIRS, ("chest", "vessel")], (0.5, 1.0)):
        draw = Draw(sizes, "inverted", *pair, str(part), seed)
        images, truth = drawn(draw, dict.fromkeys(pair, round(80 * part)), "inverted")
        rest = drawn(draw, dict.fromkeys(pair, 80 - round(80 * part)))
        yield Folder("wrong", "inverted", images + rest[0], truth + rest[1], said(pair), "inverted")


def judged(folder: Folder, bank: Bank) -> dict[str, Any]:
    """Label a folder as `medlabel label` does, and compare with the truth."""
    vectors, seen = bank.some(folder.images)
    classes, truth = list(folder.sentences), np.array(folder.truth)
    described = words.class_embeddings(bank.loaded, list(folder.sentences.values()))
    scale = bank.loaded.logit_scale
    opinion = labelling.judge(
        vectors,
        described,
        scale,
        classes,
        swapped=naming.swapped(bank.loaded, folder.sentences, described),
        mute=naming.mute(bank.loaded, folder.sentences),
        properties=sources.measured(seen, *looks.COLUMNS),
    )
    kept = ~opinion.estimate.stray
    kept |= not kept.any()
    by_words = zeroshot.probabilities(vectors, described, scale).argmax(axis=1)
    return {
        "group": folder.group, "what": folder.what, "effect": folder.effect,
        "together": folder.together, "seed": folder.seed, "images": len(truth),
        "right": float((opinion.probabilities.argmax(axis=1) == truth)[kept].mean()),
        "right_by_words": float((by_words == truth)[kept].mean()),
        **{one: getattr(opinion.estimate, one) for one in ("accuracy", "low", "high")},
        "verdict": opinion.estimate.verdict, "flagged": FLAG in opinion.estimate.reason,
        "reason": opinion.estimate.reason,
    }  # fmt: skip


def told(table: pd.DataFrame) -> pd.Series:
    """Return the shares that matter, in per cent."""
    trusted = table["verdict"] == "trusted"
    groups = {name: table["group"] == name for name in ("clean", "two sources", "wrong")}
    flagged = table["flagged"]
    near = table["right"] >= table["right_by_words"] - POINT
    found = {"clean folders": groups["clean"].sum(), "flagged": share(flagged[groups["clean"]])}
    good = groups["clean"] & (table["right"] > GOOD)
    found[f"clean folders above {GOOD:.0%}"] = good.sum()
    found["not trusted"] = share(~trusted[good])
    planted = table[groups["two sources"]]
    found["folders of two sources"] = len(planted)
    found["two sources flagged"] = share(planted["flagged"])
    for (what, effect), part in planted.groupby(["what", "effect"]):
        found[f"{what}, {effect}: flagged"] = share(part["flagged"])
    refused = table["verdict"] == "refused"
    found["within a point of words, or refused"] = share((near | refused)[groups["two sources"]])
    wrong = groups["wrong"] & (table["right"] < BAD)
    found[f"folders built to be wrong, below {BAD:.0%}"] = wrong.sum()
    found["of them trusted"] = share(trusted[wrong])
    for what, part in table[groups["wrong"]].groupby("what"):
        below = part[part["right"] < BAD]
        found[f"{what}: folders"] = len(part)
        found[f"{what}: below {BAD:.0%}"] = len(below)
        found[f"{what}: of those trusted"] = share(below["verdict"] == "trusted")
    return pd.Series(found)


def share(true: pd.Series) -> float:
    """Return the per cent of what is true."""
    return float(100 * true.mean())


if __name__ == "__main__":
    main()
