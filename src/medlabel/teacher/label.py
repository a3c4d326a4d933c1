"""Label a folder of one's own images from text alone."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from medlabel import compute, files
from medlabel.errors import MedlabelError
from medlabel.params import Embed, Pseudolabel
from medlabel.progress import track
from medlabel.teacher import embed, encoder, zeroshot

GREY_MODES = ("1", "L", "LA")
DEEP_MODES = ("I", "F")  # 16 and 32 bits a pixel
DIGITS = 6


def label(
    images: Path,
    folder: Path,
    target: Path,
    words: Pseudolabel,
    settings: Embed,
    device: str,
    threads: int,
) -> None:
    """Label every image in a folder and its subfolders.

    Parameters
    ----------
    images
        Folder of PNG, JPEG or any other files that Pillow reads, of any size.
    folder
        Of the encoder.
    target
        CSV to write, in the order of the files' names: file (relative to `images`), label, and
        ``p_<class>``, the probability of each class.
    words
        Templates, prompts and logit scale; the other keys are not used.
    settings
        Batch size and precision.
    device, threads
        As for `medlabel.compute.prepare`.

    Raises
    ------
    MedlabelError
        When the folder holds no image, or a file of it is damaged or deeper than 8 bits, or a
        prompt is too long. Nothing is written then.
    """
    paths = find_images(images)
    where = compute.prepare(device, threads)
    loaded = encoder.load(folder, where)
    descriptions = [prompt.descriptions for prompt in words.prompts]
    classes = zeroshot.class_embeddings(loaded, words.templates, descriptions)
    embeddings = _embeddings(paths, loaded, settings)
    scale = words.logit_scale or loaded.logit_scale
    chances = zeroshot.probabilities(embeddings, classes, scale)
    names = [path.relative_to(images).as_posix() for path in paths]
    _write(target, names, chances, [prompt.label for prompt in words.prompts])


def _embeddings(
    paths: Sequence[Path], loaded: encoder.Encoder, settings: Embed
) -> npt.NDArray[np.float32]:
    precision = embed.choose_precision(settings.precision, loaded.device)
    embed.cast(loaded, precision)
    firsts = range(0, len(paths), settings.batch_size)
    found = []
    for first in track(firsts, f"label {len(paths)} images", len(firsts)):
        each = [
            embed.preprocess(read_image(path)[None], loaded.manifest.preprocessing)
            for path in paths[first : first + settings.batch_size]
        ]
        found.append(embed.encode_images(loaded, torch.cat(each), precision))
    return np.concatenate(found)


def _write(
    target: Path, names: Sequence[str], chances: npt.NDArray[np.float32], classes: Sequence[str]
) -> None:
    with files.replacing(target) as partial, partial.open("w", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["file", "label", *(f"p_{name}" for name in classes)])
        for name, row in zip(names, chances, strict=True):
            shown = [f"{chance:.{DIGITS}f}" for chance in row]
            table.writerow([name, classes[int(row.argmax())], *shown])


def find_images(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, sorted by name.

    Raises
    ------
    MedlabelError
        When the folder does not exist or holds no file with an image's suffix.
    """
    from PIL import Image

    if not folder.is_dir():
        raise MedlabelError(f"{folder}: expected a folder of images, found no such folder.")
    suffixes = {
        suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN
    }
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    if not found:
        raise MedlabelError(
            f"{folder}: expected images such as .png or .jpg in it or its subfolders, found none."
        )
    return found


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read one image.

    Returns
    -------
    ndarray
        uint8 of shape (H, W) for grey or (H, W, 3) for colour; transparency is dropped.

    Raises
    ------
    MedlabelError
        When the file is damaged, or has more than 8 bits a channel, which cannot be brought to 8
        without knowing the window of intensities that matters.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith(DEEP_MODES):
                raise MedlabelError(
                    f"{path}: expected 8 bits a channel, found Pillow's mode {image.mode}; choose "
                    f"the window of intensities that matters and save it with 8 bits."
                )
            grey = image.mode in GREY_MODES
            return np.array(image.convert("L" if grey else "RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise MedlabelError(
            f"{path}: expected an image, found a damaged or unreadable file ({reason}); remove or "
            f"replace it."
        ) from error
