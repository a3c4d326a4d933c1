"""What teachers know of real images: kinds, findings, words that no caption used.

    python bench/teacher.py --out results/bench/teachers.json [--test] locked phantom_clip@60

Kinds are told among all eleven that the phantoms have, in the capstone's template and in plain
names. Without --test the training and validation splits are looked at, which may be used to choose;
the test splits are for the end. Brain slices (the MNI152 template in nilearn) and a fundus
photograph (in scikit-image) are judged where these packages are installed; neither is a
dependency. Of photographs of things, in scikit-image too, as many as possible should get a lower
confidence than 95 % of those images get that are told rightly. Each number is the mean over the
trainings of an encoder that lie in data/encoders.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from medlabel import compute, files
from medlabel.data import archive
from medlabel.randomness import stream
from medlabel.teacher import encoder, locked, runtime, tower, words

CAPSTONE = "This is a photo of the {}, and it's a type of organ"
# The organ in the capstone's template, and the plain name.
KINDS = {
    "phantom_chest": ("chest", "chest x-ray"),
    "phantom_breast": ("breast", "breast ultrasound"),
    "phantom_brain": ("brain", "brain MRI"),
    "phantom_abdomen": ("abdomen", "abdominal CT"),
    "phantom_hand": ("hand", "hand x-ray"),
    "phantom_retina": ("retina", "fundus photograph"),
    "phantom_blood": ("blood", "blood smear"),
    "phantom_skin": ("skin", "skin lesion"),
    "phantom_colon": ("colon", "colon histology"),
    "phantom_oct": ("macula", "retinal OCT"),
    "phantom_vessel3d": ("blood vessel", "MR angiogram"),
}
SETS = {
    "pneumoniamnist": "phantom_chest",
    "breastmnist": "phantom_breast",
    "vesselmnist3d": "phantom_vessel3d",
}
# Words of a finding and of its absence, and the label of the finding.
FINDINGS = {
    "pneumonia": (
        "pneumoniamnist",
        1,
        "a chest x-ray with pneumonia",
        "a chest x-ray with no finding",
    ),
    "pneumonia, other words": ("pneumoniamnist", 1, "lung infection", "healthy lungs"),
    "pneumonia against no pneumonia": ("pneumoniamnist", 1, "pneumonia", "no pneumonia"),
    "malignant": (
        "breastmnist",
        0,
        "a breast ultrasound with a malignant mass",
        "a breast ultrasound with a benign mass",
    ),
}
TEMPLATE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
FUNDUS = "data/retina.jpg"
FUNDUS_CROPS = ((0, 1411, 0), (450, 500, 150), (180, 500, 500), (450, 500, 750), (350, 700, 350))
SLICES = 10  # of each plane
THINGS = ("astronaut", "brick", "camera", "chelsea", "clock_motion", "coffee", "coins", "color")
THINGS += ("grass", "gravel", "horse", "logo", "moon", "motorcycle_left", "page", "text")
UNLIKE = "things, below the confidence of images that are told rightly"
BATCH = 64
RESAMPLES = 2000


def main() -> None:
    """Judge encoders and write a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoders", nargs="+", help="names, such as locked or phantom_clip@60")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--test", action="store_true", help="look at the test splits")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON to write")
    options = parser.parse_args()
    device = compute.prepare("cpu", options.threads)
    images = {**official(options.data, ["test"] if options.test else ["train", "val"]), **others()}
    phrases = pd.read_csv("resources/phrases.csv")
    table = {
        name: judged(options.data / "encoders", name, images, phrases, device, options.threads)
        for name in options.encoders
    }
    print(pd.DataFrame(table).to_string(float_format="%.3f"))
    if options.out:
        files.write_json(options.out, {"splits": "test" if options.test else "train, val", **table})


def official(data: Path, splits: list[str]) -> dict[str, tuple[str, list[np.ndarray], np.ndarray]]:
    """Return kind, images and labels of MedMNIST's files; volumes as maximum projections."""
    found = {}
    for name, kind in SETS.items():
        source = archive.read(data / "raw" / f"{name}.npz", name, 28)
        images = np.concatenate([np.asarray(source.images[split]) for split in splits])
        labels = np.concatenate([source.labels[split] for split in splits]).reshape(-1)
        flat = images if images.ndim == 3 else np.stack([one.max(0) for one in images])
        found[name] = (kind, list(flat), labels)
    return found


def others() -> dict[str, tuple[str, list[np.ndarray], np.ndarray]]:
    """Return real images that packages hold, as far as they are installed."""
    found: dict[str, tuple[str, list[np.ndarray], np.ndarray]] = {}
    if (template := held_by("nilearn", TEMPLATE)) and importlib.util.find_spec("nibabel"):
        import nibabel

        volume, slices = nibabel.load(template).get_fdata(), []
        for axis in range(3):
            length = volume.shape[axis]
            for at in np.linspace(0.22 * length, 0.78 * length, SLICES).astype(int):
                plane = np.rot90(np.take(volume, at, axis))
                slices.append(np.uint8(255 * np.clip(plane / np.percentile(plane, 99.8), 0, 1)))
        found["brain slices"] = ("phantom_brain", slices, np.zeros(len(slices)))
    if photograph := held_by("skimage", FUNDUS):
        whole = np.asarray(Image.open(photograph).convert("RGB"))
        crops = [whole[y : y + edge, x : x + edge] for y, edge, x in FUNDUS_CROPS]
        found["fundus"] = ("phantom_retina", crops, np.zeros(len(crops)))
        shown = [Image.open(photograph.parent / f"{one}.png").convert("RGB") for one in THINGS]
        found[UNLIKE] = ("", [np.asarray(one) for one in shown], np.zeros(len(shown)))
    return found


def held_by(package: str, name: str) -> Path | None:
    """Return a file that an installed package holds, without importing it."""
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / name if spec and spec.origin else None
    return path if path and path.is_file() else None


def judged(
    folder: Path, name: str, images: Any, phrases: pd.DataFrame, device: torch.device, threads: int
) -> dict[str, float]:
    """Return the mean scores of all trainings of an encoder."""
    base, _, step = name.partition("@")
    suffix = f"@{step}" if step else ""
    runs = [folder / f"{base}{run}{suffix}" for run in ("", *(f".{n}" for n in range(1, 100)))]
    loaded = [encoder.load(run, device) for run in runs if run.is_dir()]
    seen = [embed(loaded, shown, threads) for _, shown, _ in images.values()]
    scores = [
        scored(one, images, dict(zip(images, found, strict=True)), phrases)
        for one, found in zip(loaded, zip(*seen, strict=True), strict=True)
    ]
    found = pd.DataFrame(scores).mean().to_dict()
    shown = next(iter(images.values()))[1]
    return {**found, "images a CPU-second": rate(loaded[:1], shown, threads)}


def rate(loaded: list[encoder.Encoder], shown: list[np.ndarray], threads: int) -> float:
    """Return how many images one training embeds a CPU-second, compilation left out."""
    spent = []
    for count in (BATCH, 5 * BATCH):
        started = time.process_time()
        embed(loaded, shown[:count], threads)
        spent.append(time.process_time() - started)
    return 4 * BATCH / (spent[1] - spent[0])


def scored(
    loaded: encoder.Encoder, images: Any, embeddings: dict[str, np.ndarray], phrases: pd.DataFrame
) -> dict[str, float]:
    """Return the scores of one encoder."""

    def say(sentences: list[str]) -> np.ndarray:
        return words.class_embeddings(loaded, [[one] for one in sentences])

    kinds, result = list(KINDS), {}
    known = [name for name in images if name != UNLIKE]
    for way, sentences in {
        "template": [CAPSTONE.format(organ) for organ, _ in KINDS.values()],
        "plain": [plain for _, plain in KINDS.values()],
    }.items():
        said, right = say(sentences), []
        for name in known:
            likeness = embeddings[name] @ said.T
            hit = likeness.argmax(1) == kinds.index(images[name][0])
            result[f"{name}, {way}"] = float(hit.mean())
            right.append(np.sort(confidence(likeness, loaded.logit_scale)[hit]))
        if UNLIKE in images:
            bound = np.mean([np.quantile(one, 0.05) for one in right if len(one)])
            unlike = confidence(embeddings[UNLIKE] @ said.T, loaded.logit_scale)
            result[f"{UNLIKE}, {way}"] = float((unlike < bound).mean())
    right = []
    plain = say([one for _, one in KINDS.values()])
    for name in known:
        kind = images[name][0]
        for phrase in phrases.loc[phrases["kind"] == kind, "phrase"]:
            said = plain.copy()
            said[kinds.index(kind)] = say([phrase])[0]
            answers = (embeddings[name] @ said.T).argmax(1)
            right.append(np.bincount(answers, minlength=len(kinds)).argmax() == kinds.index(kind))
    result[f"phrases ({len(right)})"] = float(np.mean(right))
    for finding, (name, label, ill, well) in FINDINGS.items():
        difference = embeddings[name] @ np.diff(say([well, ill]), axis=0)[0]
        truth = images[name][2] == label
        result[f"{finding}, AUC"] = float(roc_auc_score(truth, difference))
        low, high = interval(truth, difference)
        result |= {f"{finding}, AUC, low": low, f"{finding}, AUC, high": high}
        result[f"{finding}, accuracy"] = float(((difference > 0) == truth).mean())
    return result


def interval(truth: np.ndarray, toward: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of an AUC over images: percentiles of resamples, the same ones."""
    counts = stream(0, "bench", "teacher").multinomial(
        len(truth), np.full(len(truth), 1 / len(truth)), size=RESAMPLES
    )[:, np.argsort(toward)]
    ill = counts * truth[np.argsort(toward)]
    well = counts - ill
    pairs = ill.sum(1) * well.sum(1)
    found = ((well.cumsum(1) * ill).sum(1) / pairs)[pairs > 0]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def confidence(likeness: np.ndarray, scale: float) -> np.ndarray:
    """Return the probability of the likeliest kind."""
    found: np.ndarray = softmax(scale * likeness, axis=1).max(axis=1)
    return found


def embed(loaded: list[encoder.Encoder], shown: list[np.ndarray], threads: int) -> list[np.ndarray]:
    """Embed images of any sizes by all trainings of an encoder; a locked tower runs once."""
    first, runner, rows = loaded[0].model, None, []
    alone = not isinstance(first, locked.Locked)
    network = runtime.ImageSide(first) if alone else first.visual.scales()
    for start in range(0, len(shown), BATCH):
        batch = torch.cat(
            [
                tower.preprocess(one[None], loaded[0].manifest.preprocessing)
                for one in shown[start : start + BATCH]
            ]
        )
        runner = runner or runtime.compiled(network, batch, "openvino", "fp32", threads)
        rows.append(runner.compute(batch))
    features = torch.from_numpy(np.concatenate(rows))
    if alone:
        each = [
            features,
            *(torch.from_numpy(embed([one], shown, threads)[0]) for one in loaded[1:]),
        ]
    else:
        with torch.inference_mode():
            each = [one.model.visual.project(features) for one in loaded]
    return [torch.nn.functional.normalize(one, dim=-1).numpy() for one in each]


if __name__ == "__main__":
    main()
