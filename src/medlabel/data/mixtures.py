"""Mixed datasets as tables of images: what may be drawn, and what each seed draws.

No pixel is copied: an image is named by its dataset, split and row.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medlabel import files
from medlabel.data import archive, catalogue
from medlabel.data.pixels import Projection
from medlabel.errors import MedlabelError
from medlabel.randomness import stream

if TYPE_CHECKING:
    import pandas as pd

    from medlabel.params import ClassRole, Mixture, MixtureClass

logger = logging.getLogger("medlabel")

ROLES = ("train", "test")
IMAGE = ["dataset", "split", "row"]
POOL_COLUMNS = ["role", *IMAGE, "class"]
AUDIT_EXAMPLES = 20


def write_pool(
    name: str, mixture: Mixture, archives: Mapping[str, Path], target: Path, seed: int
) -> None:
    """Write the table of all images that any seed may draw.

    Its columns are ``role`` (train or test), ``dataset``, ``split``, ``row`` (int32, in the
    split's array) and ``class`` (its name). It is sorted by role, class in the mixture's order,
    dataset, split and row, roles and splits in the order train, val, test.

    With `mixture.pool` they are a fixed random subset of that many images a class and role, by the
    random streams of `seed`. `name` is the mixture's, for messages.

    Raises
    ------
    MedlabelError
        When a file is not as it should be, when a source has no such label, when an image belongs
        to two classes, or when a class has fewer images than a seed draws.
    """
    import pandas as pd

    sources = _opened(mixture, archives)
    eligible = {
        entry.name: _eligible(entry, sources[entry.dataset], f"mixtures.{name}.classes.{index}")
        for index, entry in enumerate(mixture.classes)
    }
    _refuse_shared_images(name, mixture, eligible)
    parts = []
    for role, (index, entry) in itertools.product(ROLES, enumerate(mixture.classes)):
        members = eligible[entry.name].query("role == @role")
        if mixture.pool is not None:
            chosen = stream(seed, "pool", entry.name, role).permutation(len(members))
            members = members.iloc[np.sort(chosen[: mixture.pool])]
        if lacking := _lacking(mixture, entry, role, len(members)):
            raise MedlabelError(f"mixtures.{name}.classes.{index}.{role}.count: {lacking}.")
        parts.append(members)
    files.write_parquet(target, pd.concat(parts, ignore_index=True))


def read_pool(path: Path) -> pd.DataFrame:
    """Read the table that `write_pool` wrote.

    Raises
    ------
    MedlabelError
        When it is missing, damaged or lacks a column.
    """
    return files.read_parquet(path, "pool", POOL_COLUMNS)[POOL_COLUMNS]


def draw(mixture: Mixture, pool: pd.DataFrame, one: int, seed: int) -> pd.DataFrame:
    """Draw the images of one repeat.

    A repeat draws without replacement, and the same images of a class whatever other classes
    there are.

    Parameters
    ----------
    mixture, pool
        Classes and counts, and what `read_pool` gives, of a mixture that has these among others.
    one, seed
        Number of the repeat, and the root of the random streams.

    Returns
    -------
    DataFrame
        Columns ``role``, ``dataset``, ``split``, ``row`` (int32) and ``label`` (int8, index of
        the class), sorted by role and label, the images of a class in the order of drawing.

    Raises
    ------
    MedlabelError
        When the pool has fewer images of a class than are drawn.
    """
    chosen, labels = [], []
    for role, (index, entry) in itertools.product(ROLES, enumerate(mixture.classes)):
        rows = np.flatnonzero((pool["role"] == role) & (pool["class"] == entry.name))
        if lacking := _lacking(mixture, entry, role, len(rows)):
            raise MedlabelError(f"pool: {lacking}; run `medlabel pool` again.")
        order = stream(seed, "mix", entry.name, role, one).permutation(rows)
        chosen.append(order[: getattr(entry, role).count])
        labels.append(np.full(len(chosen[-1]), index, dtype=np.int8))
    found = pool[["role", *IMAGE]].iloc[np.concatenate(chosen)].reset_index(drop=True)
    return found.assign(label=np.concatenate(labels))


def _opened(mixture: Mixture, archives: Mapping[str, Path]) -> dict[str, archive.Archive]:
    return {name: archive.read(archives[name], name, mixture.size) for name in mixture.datasets}


def _eligible(entry: MixtureClass, source: archive.Archive, where: str) -> pd.DataFrame:
    """List the images of a class in both roles, sorted by split and row within each."""
    import pandas as pd

    known = _known_labels(source)
    if unknown := [label for label in entry.labels or [] if label not in known]:
        allowed = ", ".join(f"{label} {meaning}".strip() for label, meaning in known.items())
        raise MedlabelError(
            f"{where}.labels: {unknown} given; {entry.dataset} has the labels {allowed}."
        )
    rows = {split: np.flatnonzero(_carries(source.labels[split], entry)) for split in source.labels}
    parts = [
        pd.DataFrame({"role": role, "split": split, "row": rows[split].astype(np.int32)})
        for role in ROLES
        for split in archive.SPLITS
        if split in getattr(entry, role).splits
    ]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(**{"dataset": entry.dataset, "class": entry.name})[POOL_COLUMNS]


def _carries(labels: archive.Labels, entry: MixtureClass) -> npt.NDArray[np.bool_]:
    """Say of each image, given labels of shape (n, L), whether it belongs to a class."""
    if entry.labels is None:
        return np.ones(len(labels), dtype=bool)
    if labels.shape[1] > 1:
        return np.asarray(labels[:, entry.labels].any(axis=1))
    return np.isin(labels[:, 0], entry.labels)


def _known_labels(source: archive.Archive) -> dict[int, str]:
    """Give the labels of a dataset, with their meanings where MedMNIST publishes them."""
    if source.dataset in catalogue.INFO:
        published = catalogue.INFO[source.dataset]["label"]
        return {int(label): f"({meaning})" for label, meaning in published.items()}
    if source.multi_label:
        return dict.fromkeys(range(source.labels["train"].shape[1]), "")
    found = np.unique(np.concatenate(list(source.labels.values())))
    return dict.fromkeys(found.tolist(), "")


def _refuse_shared_images(
    name: str, mixture: Mixture, eligible: Mapping[str, pd.DataFrame]
) -> None:
    for (first, one), (second, other) in itertools.combinations(enumerate(mixture.classes), 2):
        if one.dataset != other.dataset:
            continue
        if shared := len(eligible[one.name].merge(eligible[other.name], on=IMAGE)):
            raise MedlabelError(
                f"mixtures.{name}.classes: {shared} images of {one.dataset} belong to both "
                f"{one.name} and {other.name}; give classes.{first} and classes.{second} labels "
                f"or splits that no image shares."
            )


def _lacking(mixture: Mixture, entry: MixtureClass, role: str, available: int) -> str:
    """Say what a class lacks, or nothing."""
    wanted: ClassRole = getattr(entry, role)
    needed = wanted.count or 1
    if available >= needed:
        return ""
    labels = "" if entry.labels is None else f" with the labels {entry.labels}"
    capped = mixture.pool is not None and mixture.pool < needed
    cause = f", of which pool keeps {mixture.pool}" if capped else ""
    return (
        f"class {entry.name} needs {needed} {role} images, found {available} in "
        f"{' and '.join(wanted.splits)} of {entry.dataset}{labels}{cause}; lower the count, or "
        f"name more splits or labels"
    )


def duplicates(
    pool: pd.DataFrame,
    archives: Mapping[str, archive.Archive],
    projection: Projection | None = None,
) -> pd.DataFrame:
    """Find images of a pool whose pixels, projected where they are volumes, are the same.

    Returns
    -------
    DataFrame
        The pool's rows that have a twin, in the pool's order, with a first column ``group``
        (int64): equal for equal images, numbered by first appearance.
    """
    import pandas as pd

    digests = np.empty(len(pool), dtype=object)
    for positions, images in archive.parts(archives, pool, projection):
        digests[positions] = [
            hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images
        ]
    groups = pd.Series(digests, index=pool.index)
    twins = pool[groups.duplicated(keep=False)].copy()
    twins.insert(0, "group", pd.factorize(groups[twins.index])[0])
    return twins.reset_index(drop=True)


def write_audit(pool: Path, mixture: Mixture, archives: Mapping[str, Path], target: Path) -> None:
    """Write how many images of a pool are duplicates, for they would flatter every score.

    The JSON file holds the number of ``images``, of ``duplicated`` ones, of ``groups`` of equal
    images, of those with images in both roles (``groups_across_roles``) and with images of several
    classes (``groups_across_classes``), and ``examples`` of groups, those across roles first.

    Raises
    ------
    MedlabelError
        When a file is missing or not as it should be.
    """
    table = read_pool(pool)
    twins = duplicates(table, _opened(mixture, archives), mixture.projection)
    spread = twins.groupby("group")[["role", "class"]].nunique()
    across = int((spread["role"] > 1).sum())
    files.write_json(
        target,
        {
            "images": len(table),
            "duplicated": len(twins),
            "groups": len(spread),
            "groups_across_roles": across,
            "groups_across_classes": int((spread["class"] > 1).sum()),
            "examples": _examples(twins, spread),
        },
    )
    if across:
        logger.warning("%s: %d groups of equal images are in both roles", pool, across)


def _examples(twins: pd.DataFrame, spread: pd.DataFrame) -> list[list[dict[Any, Any]]]:
    order = spread.sort_values("role", ascending=False, kind="stable").index[:AUDIT_EXAMPLES]
    groups = twins.set_index("group")[POOL_COLUMNS]
    return [groups.loc[[group]].to_dict("records") for group in order]
