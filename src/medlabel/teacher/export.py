"""Encoders for others: a folder that open_clip loads without this package."""

from __future__ import annotations

import shutil
from pathlib import Path

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.teacher import encoder, verify

PREFIX = "medlabel_"  # of names that `five_blocks` tells timm, and `three_layers` open_clip


def export(folder: Path, target: Path) -> None:
    """Write an encoder as open_clip reads it, ``local-dir:<target>``, after verifying it.

    Parameters
    ----------
    folder
        Of the encoder; its towers are open_clip's, timm's or transformers' own.
    target
        Folder to write: configuration, weights, the record, and a tokenizer where there is one.

    Raises
    ------
    MedlabelError
        When `verify` refuses the encoder, `target` is not empty, a tower is this package's own
        (`five_blocks`, `three_layers`), or the encoder is of kind locked: open_clip's
        configurations can say neither that features, and each part of an embedding, are brought to
        length 1, nor that a sentence is the mean of its words' vectors.
    """
    if encoder.is_locked(folder):
        raise MedlabelError(
            f"{folder}: kind locked given, which open_clip cannot load: its configurations have no "
            f"features of length 1 and no mean of word vectors; hand on the folder itself, for "
            f"`medlabel adopt`, or export an encoder of kind contrastive or open_clip."
        )
    towers = files.read_json(folder / encoder.CONFIG, encoder.MADE_BY)["model_cfg"]
    for tower, key in (("vision_cfg", "timm_model_name"), ("text_cfg", "hf_pooler_type")):
        if (named := str(towers[tower].get(key))).startswith(PREFIX):
            raise MedlabelError(
                f"{folder}: {tower}.{key}: {named} given, which this package alone knows; hand on "
                f"the folder itself, for `medlabel adopt`, or export an encoder with other towers."
            )
    if target.exists() and any(target.iterdir()):
        raise MedlabelError(f"{target}: expected a new or empty folder; name another one.")
    verify.verify(folder)
    ours = (encoder.WEIGHTS, encoder.PROVENANCE, encoder.CONFIG)
    for path in sorted(folder.iterdir()):
        if path.name not in ours:
            with files.replacing(target / path.name) as partial:
                shutil.copyfile(path, partial)
    encoder.copy(folder, target)
