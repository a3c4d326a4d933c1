"""Parameters of files and of what is drawn."""

from __future__ import annotations

from pydantic import Field

from medlabel.params.base import Count, Section


class Folders(Section):
    """Where the project writes."""

    data: str = Field(min_length=1, description="Folder of all that is large: DVC keeps it.")
    results: str = Field(
        min_length=1, description="Folder of metrics, tables and figures: Git keeps it."
    )


class Download(Section):
    """How MedMNIST's files are had."""

    mirrors: list[str] = Field(
        description="Folders or http(s) addresses that hold `<dataset>.npz`; searched in this "
        "order, after MEDLABEL_MIRROR and before ~/.medmnist and Zenodo."
    )
    retries: int = Field(ge=0, le=100, description="Further attempts after a failed download.")
    timeout: float = Field(gt=0, le=3600, description="Seconds without a byte before giving up.")


class Counts(Section):
    """Images of each kind of phantom, split as MedMNIST splits its own."""

    train: Count = Field(description="Images a kind in the training split.")
    val: Count = Field(description="Images a kind in the validation split.")
    test: Count = Field(description="Images a kind in the test split.")


class Phantoms(Section):
    """Procedurally drawn images with captions."""

    size: int = Field(ge=14, le=512, description="Edge length in pixels (voxels in 3-D).")
    counts: Counts = Field(description="Images of each flat kind.")
    volumes: Counts = Field(description="Vessels in 3-D, half of them with an aneurysm.")
    stand_ins: Counts = Field(
        description="Images of each stand-in for an official set (section `many_sets`) at most; "
        "no more than the official file has."
    )
    stand_in_drawings: Count | None = Field(
        default=None,
        exclude_if=lambda value: value is None,  # what was made without it need not run again
        description="Drawings of a split of a stand-in at most: further images are these again, "
        "shifted, dimmed or lit, and with other noise. Null: each image is a drawing of its own.",
    )
    artefacts: bool = Field(
        description="Add scanner artefacts: noise, blur, bias field, ringing, contrast."
    )
