"""Mixed datasets as tables of images: what may be drawn, and what each seed draws.

No pixel is copied: an image is named by its dataset, split and row.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medlabel import files, params
from medlabel.data import archive, catalogue
from medlabel.errors import MedlabelError
from medlabel.randomness import stream

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("medlabel")

ROLES = ("train", "test")
IMAGE = ["dataset", "split", "row"]
POOL_COLUMNS = ["role", *IMAGE, "label"]
DRAW_COLUMNS = ["seed", *POOL_COLUMNS]
AUDIT_EXAMPLES = 20

BLOCK = re.compile(r"(\d{4,})-(\d{4,})")


def write_pool(
    mixture: params.Mixture, archives: Mapping[str, Path], size: int, target: Path, seed: int
) -> None:
    """Write the table of all images that any seed may draw.

    Its columns are ``role`` (train or test), ``dataset``, ``split``, ``row`` (int32, in the
    split's array) and ``label`` (int8, index of the class). It is sorted by role, label, dataset,
    split and row, roles and splits in the order train, val, test.

    Parameters
    ----------
    mixture
        Classes, splits and counts; with `mixture.pool`, a fixed random subset of that many images
        a class and role.
    archives
        Files of the mixture's datasets.
    size
        Edge length that every file must have, in pixels.
    target
        The parquet file to write.
    seed
        Root seed of the study.

    Raises
    ------
    MedlabelError
        When a file is not as it should be, when a source has no such label, when an image belongs
        to two classes, or when a class has fewer images than a seed draws.
    """
    import pandas as pd

    sources = {name: archive.read(archives[name], name, size) for name in mixture.datasets}
    eligible = [
        _eligible(entry, index, sources[entry.dataset])
        for index, entry in enumerate(mixture.classes)
    ]
    _refuse_shared_images(mixture, eligible)
    parts = []
    for role, (index, entry) in itertools.product(ROLES, enumerate(mixture.classes)):
        members = eligible[index][eligible[index]["role"] == role]
        if mixture.pool is not None:
            chosen = stream(seed, "pool", entry.name, role).permutation(len(members))
            members = members.iloc[np.sort(chosen[: mixture.pool])]
        _require_enough(mixture, index, role, len(members))
        parts.append(members)
    files.write_parquet(target, pd.concat(parts, ignore_index=True))


def write_draw(mixture: params.Mixture, pool: Path, block: str, target: Path, seed: int) -> None:
    """Write the table of the images that each seed of a block draws.

    Its columns are ``seed`` (int32) and those of the pool. It is sorted by seed, role and label;
    the images of a class stand in the order in which they were drawn. A seed draws without
    replacement, and the same images whatever block it is in and whatever other classes there are.

    Parameters
    ----------
    mixture
        Classes and counts.
    pool
        The table that `write_pool` wrote.
    block
        Seeds, as `parse_block` reads them.
    target
        The parquet file to write.
    seed
        Root seed of the study.

    Raises
    ------
    MedlabelError
        When the pool is missing or damaged, or has fewer images of a class than a seed draws.
    """
    table = files.read_parquet(pool, "pool", POOL_COLUMNS)
    members = _members(mixture, table)
    seeds = parse_block(block)
    drawn = {one: _drawn(mixture, members, one, seed) for one in seeds}
    draw = table[POOL_COLUMNS].iloc[np.concatenate(list(drawn.values()))]
    repeated = np.repeat(list(drawn), [len(rows) for rows in drawn.values()])
    draw.insert(0, "seed", repeated.astype(np.int32))
    files.write_parquet(target, draw)


def parse_block(block: str) -> range:
    """Return the seeds of a block ``first-last``, both included, such as ``"0000-0014"``.

    Raises
    ------
    MedlabelError
        When it is written otherwise, or ends before it begins.
    """
    parts = BLOCK.fullmatch(block)
    if parts is None or int(parts[1]) > int(parts[2]):
        raise MedlabelError(
            f"block: {block!r} given; first-last with four digits each expected, such as 0000-0014."
        )
    return range(int(parts[1]), int(parts[2]) + 1)


def _eligible(entry: params.MixtureClass, index: int, source: archive.Archive) -> pd.DataFrame:
    """List the images of a class in both roles, sorted by split and row within each."""
    import pandas as pd

    _require_known_labels(entry, index, source)
    rows = {split: np.flatnonzero(_carries(source.labels[split], entry)) for split in source.labels}
    parts = [
        pd.DataFrame({"role": role, "split": split, "row": rows[split].astype(np.int32)})
        for role in ROLES
        for split in archive.SPLITS
        if split in getattr(entry, role).splits
    ]
    table = pd.concat(parts, ignore_index=True)
    table["dataset"] = entry.dataset
    table["label"] = np.int8(index)
    return table[POOL_COLUMNS]


def _carries(labels: archive.Labels, entry: params.MixtureClass) -> npt.NDArray[np.bool_]:
    """Say of each image, given labels of shape (n, L), whether it belongs to a class."""
    if entry.labels is None:
        return np.ones(len(labels), dtype=bool)
    if labels.shape[1] > 1:
        return np.asarray(labels[:, entry.labels].any(axis=1))
    return np.isin(labels[:, 0], entry.labels)


def _require_known_labels(entry: params.MixtureClass, index: int, source: archive.Archive) -> None:
    known = _known_labels(source)
    unknown = [label for label in entry.labels or [] if label not in known]
    if unknown:
        allowed = ", ".join(f"{label} {meaning}".strip() for label, meaning in known.items())
        raise MedlabelError(
            f"mixture.classes.{index}.labels: {unknown} given; {entry.dataset} has the labels "
            f"{allowed}."
        )


def _known_labels(source: archive.Archive) -> dict[int, str]:
    """Give the labels of a dataset, with their meanings where MedMNIST publishes them."""
    if source.dataset in catalogue.INFO:
        published = catalogue.INFO[source.dataset]["label"]
        return {int(label): f"({meaning})" for label, meaning in published.items()}
    if source.multi_label:
        return dict.fromkeys(range(source.labels["train"].shape[1]), "")
    found = np.unique(np.concatenate(list(source.labels.values())))
    return dict.fromkeys(found.tolist(), "")


def _refuse_shared_images(mixture: params.Mixture, eligible: list[pd.DataFrame]) -> None:
    for first, second in itertools.combinations(range(len(eligible)), 2):
        one, other = mixture.classes[first], mixture.classes[second]
        if one.dataset != other.dataset:
            continue
        shared = len(eligible[first].merge(eligible[second], on=IMAGE))
        if shared:
            raise MedlabelError(
                f"mixture.classes: {shared} images of {one.dataset} belong to both {one.name} and "
                f"{other.name}; give mixture.classes.{first} and mixture.classes.{second} labels "
                f"or splits that no image shares."
            )


def _require_enough(mixture: params.Mixture, index: int, role: str, available: int) -> None:
    entry = mixture.classes[index]
    wanted: params.ClassRole = getattr(entry, role)
    if available >= (wanted.count or 1):
        return
    labels = "" if entry.labels is None else f" with the labels {entry.labels}"
    capped = mixture.pool is not None and mixture.pool < (wanted.count or 1)
    cause = f", of which mixture.pool keeps {mixture.pool}" if capped else ""
    raise MedlabelError(
        f"mixture.classes.{index}.{role}.count: class {entry.name} needs {wanted.count or 1} "
        f"{role} images, found {available} in {' and '.join(wanted.splits)} of "
        f"{entry.dataset}{labels}{cause}; lower the count, or name more splits or labels."
    )


def _members(
    mixture: params.Mixture, table: pd.DataFrame
) -> dict[tuple[str, int], npt.NDArray[np.intp]]:
    """Find the pool's rows of each role and class."""
    members = {}
    for role, index in itertools.product(ROLES, range(len(mixture.classes))):
        found = np.flatnonzero((table["role"] == role) & (table["label"] == index))
        _require_enough(mixture, index, role, len(found))
        members[role, index] = found
    return members


def _drawn(
    mixture: params.Mixture,
    members: Mapping[tuple[str, int], npt.NDArray[np.intp]],
    one: int,
    seed: int,
) -> npt.NDArray[np.intp]:
    """Draw the images of one repeat: rows of the pool."""
    chosen = []
    for (role, index), rows in members.items():
        entry = mixture.classes[index]
        count = getattr(entry, role).count
        chosen.append(stream(seed, "mix", entry.name, role, one).permutation(rows)[:count])
    return np.concatenate(chosen)


def duplicates(pool: pd.DataFrame, archives: Mapping[str, archive.Archive]) -> pd.DataFrame:
    """Find images of a pool whose pixels are byte for byte the same.

    Parameters
    ----------
    pool
        The table that `write_pool` wrote.
    archives
        The archives of its datasets.

    Returns
    -------
    DataFrame
        The pool's rows that have a twin, in the pool's order, with a first column ``group``
        (int64): equal for equal images, numbered by first appearance.
    """
    import pandas as pd

    digests = np.array(list(_image_digests(pool, archives)), dtype=object)
    groups = pd.Series(digests, index=pool.index)
    twins = pool[groups.duplicated(keep=False)].copy()
    twins.insert(0, "group", pd.factorize(groups[twins.index])[0])
    return twins.reset_index(drop=True)


def _image_digests(pool: pd.DataFrame, archives: Mapping[str, archive.Archive]) -> Iterator[bytes]:
    for dataset, split, row in pool[IMAGE].itertuples(index=False):
        image = archives[dataset].images[split][row]
        yield hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def write_audit(pool: Path, archives: Mapping[str, Path], size: int, target: Path) -> None:
    """Write how many images of a pool are duplicates, for they would flatter every score.

    The JSON file holds the number of ``images``, of ``duplicated`` ones, of ``groups`` of equal
    images, of those with images in both roles (``groups_across_roles``) and with images of several
    classes (``groups_across_classes``), and ``examples`` of groups, those across roles first.

    Parameters
    ----------
    pool
        The table that `write_pool` wrote.
    archives
        Files of the mixture's datasets.
    size
        Edge length of their images in pixels.
    target
        The JSON file to write.

    Raises
    ------
    MedlabelError
        When a file is missing or not as it should be.
    """
    table = files.read_parquet(pool, "pool", POOL_COLUMNS)
    sources = {name: archive.read(path, name, size) for name, path in archives.items()}
    twins = duplicates(table, sources)
    groups = twins.groupby("group")
    spread = groups[["role", "label"]].nunique()
    across = int((spread["role"] > 1).sum())
    files.write_json(
        target,
        {
            "images": len(table),
            "duplicated": len(twins),
            "groups": len(spread),
            "groups_across_roles": across,
            "groups_across_classes": int((spread["label"] > 1).sum()),
            "examples": _examples(twins, spread),
        },
    )
    if across:
        logger.warning("%s: %d groups of equal images are in both roles", pool, across)


def _examples(twins: pd.DataFrame, spread: pd.DataFrame) -> list[list[dict[str, Any]]]:
    order = spread.sort_values("role", ascending=False, kind="stable").index[:AUDIT_EXAMPLES]
    return [
        [
            dict(image)
            for image in twins.loc[twins["group"] == group, POOL_COLUMNS].to_dict("records")
        ]
        for group in order
    ]
