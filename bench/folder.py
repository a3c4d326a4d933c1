"""A folder of one's own: `medlabel label` beside the plain loop, other words, and a person.

    python bench/folder.py speed --out results/bench/folder.json
    python bench/folder.py person --out results/bench/person.json

*speed* writes PNG files of 28 pixels, labels them from an empty cache, and labels them again in
other words. The plain loop is what one writes first with the same teacher: open a file, prepare it,
embed it, append; it is measured on some of the files, before and after, and extrapolated. *person*
lets somebody who knows the true labels name clusters, split mixed ones and correct what stands
first in the review, and counts the actions. Both read the official files in data/raw.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
from PIL import Image

from medlabel import compute, files
from medlabel.annotation import grouping, label, teachers
from medlabel.annotation.request import Request
from medlabel.data import archive, phantoms
from medlabel.teacher import encoder, tower, words

EDGE = 28
WORDS = "chest x-ray, breast ultrasound"
OTHER_WORDS = "radiograph of the lungs, sonography of the breast"
MB = 1_000_000
# What the person labels: 10,000 images of four kinds, one of them rare.
PERSONS = {
    "chest x-ray": 5856,
    "MR angiogram": 3304,
    "breast ultrasound": 780,
    "hand x-ray": 60,
}
SHOWN = 6  # typical images of a cluster, and as many at its border
ACTIONS = 60


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["speed", "person"])
    parser.add_argument("--raw", type=Path, default=Path("data/raw"), help="folder of .npz files")
    parser.add_argument("--images", type=int, default=100_000, help="of speed")
    parser.add_argument("--plain", type=int, default=300, help="images of the plain loop, a time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    compute.prepare("cpu", options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        measure = speed if options.what == "speed" else person
        report = measure(options, Path(scratch))
    print(json.dumps(report, indent=2))
    if options.out:
        files.write_json(options.out, report)


def speed(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Compare with the plain loop; both have the teacher already."""
    folder = scratch / "images"
    write_numbered(official(options.raw, "pneumoniamnist"), folder, options.images)
    teacher = teachers.find(None, "cpu", options.threads)
    plain = [plain_loop(teacher, folder, options.plain)]
    ours, memory = labelled(scratch, teacher, WORDS, options.threads)
    plain.append(plain_loop(teacher, folder, options.plain))
    again, _ = labelled(scratch, teacher, OTHER_WORDS, options.threads)
    rate = options.plain / float(np.mean(plain))
    return {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": options.threads,
        "images": options.images,
        "seconds": ours,
        "images_per_second": options.images / ours,
        "plain_images_per_second": rate,
        "ratio": options.images / ours / rate,
        "peak_megabytes": memory,
        "seconds_in_other_words": again,
    }


def official(raw: Path, name: str) -> np.ndarray:
    """Return all images of a set; volumes as maximum projections along the three axes."""
    source = archive.read(raw / f"{name}.npz", name, EDGE)
    found = np.concatenate([np.asarray(source.images[split]) for split in source.images])
    if found.ndim == 3:
        return found
    return np.concatenate([found.max(axis=axis) for axis in (1, 2, 3)])


def write_numbered(images: np.ndarray, folder: Path, count: int) -> None:
    """Write images again and again, each time with other pixels in a corner."""
    folder.mkdir()
    for number in range(count):
        time_round, which = divmod(number, len(images))
        pixels = images[which].copy()
        pixels[0, 0] = time_round
        Image.fromarray(pixels).save(folder / f"{number:06}.png", compress_level=1)


def plain_loop(teacher: Path, folder: Path, count: int) -> float:
    """Embed and label one file after the other; return the seconds."""
    loaded = encoder.load(teacher, torch.device("cpu"))
    described = words.class_embeddings(loaded, [[name] for name in WORDS.split(", ")])
    chosen = sorted(folder.iterdir())[:count]
    embeddings = []
    with torch.no_grad():
        started = time.perf_counter()
        for path in chosen:
            pixels = np.asarray(Image.open(path).convert("RGB"))
            image = tower.preprocess(pixels[None], loaded.manifest.preprocessing)
            embeddings.append(loaded.model.encode_image(image, normalize=True).numpy())
        (np.concatenate(embeddings) @ described.T).argmax(axis=1)
    return time.perf_counter() - started


def labelled(scratch: Path, teacher: Path, names: str, threads: int) -> tuple[float, float]:
    """Run `medlabel label`; return seconds and the most memory of all its processes, in MB."""
    command = [
        Path(sys.executable).parent / "medlabel", "label", scratch / "images", "--classes", names,
        "--encoder", teacher, "--out", scratch / "labels", "--threads", threads, "--anyway",
    ]  # fmt: skip
    environment = {**os.environ, "XDG_CACHE_HOME": str(scratch / "cache")}
    started = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), env=environment)
    with watched(process.pid) as peak:
        code = process.wait()
    if code:
        raise SystemExit(code)
    return time.perf_counter() - started, max(peak) / MB


@contextmanager
def watched(pid: int) -> Iterator[list[int]]:
    """Sample the memory of a process and its children; what they share counts once."""
    found, ended = [0], threading.Event()

    def sample() -> None:
        while not ended.wait(0.5):
            try:
                parent = psutil.Process(pid)
                family = [parent, *parent.children(recursive=True)]
                found.append(sum(one.memory_full_info().pss for one in family))
            except psutil.Error:
                continue

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def person(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Count what somebody has to do who knows every label."""
    truth = write_kinds(options.raw, scratch / "images")
    request = Request(
        images=scratch / "images",
        out=scratch / "labels",
        sentences={name: [name] for name in PERSONS},
        encoder=str(teachers.find(None, "cpu", options.threads)),
        threads=options.threads,
        workers=options.threads,
        cache=scratch / "cache",
        anyway=True,
    )
    table = label.label(request).table
    before = right(table, truth)
    said, actions = named(table, truth)
    said, actions = corrected(table, truth, said, actions)
    given = scratch / "said.csv"
    said.to_csv(given, index=False)
    after = label.label(replace(request, corrections=given)).table
    rare = after[after["file"].map(truth) == "hand x-ray"]
    return {
        "images": len(table),
        "kinds": PERSONS,
        "right_before": before,
        "clusters": int(table["cluster"].max()),
        "actions": actions,
        "right_after": right(after, truth),
        "rare_right_after": float((rare["label"] == "hand x-ray").mean()),
    }


def write_kinds(raw: Path, folder: Path) -> dict[str, str]:
    """Write the person's images in a mixed order; return the truth by file."""
    drawn = phantoms.draw("phantom_hand", PERSONS["hand x-ray"], EDGE, 7, "test", True).images
    sources = {
        "chest x-ray": official(raw, "pneumoniamnist"),
        "MR angiogram": official(raw, "vesselmnist3d"),
        "breast ultrasound": official(raw, "breastmnist"),
        "hand x-ray": drawn,
    }
    folder.mkdir()
    kinds = np.repeat(list(PERSONS), list(PERSONS.values()))
    places = np.random.default_rng(0).permutation(len(kinds))
    truth: dict[str, str] = {}
    used = dict.fromkeys(PERSONS, 0)
    for place in places:
        kind = str(kinds[place])
        name = f"{len(truth):05}.png"
        Image.fromarray(sources[kind][used[kind]]).save(folder / name)
        used[kind] += 1
        truth[name] = kind
    return truth


def right(table: pd.DataFrame, truth: dict[str, str]) -> float:
    """Return the share of right labels of all images."""
    return float((table["label"] == table["file"].map(truth)).mean())


def named(table: pd.DataFrame, truth: dict[str, str]) -> tuple[pd.DataFrame, int]:
    """Name every cluster by what is shown of it; split those that show two kinds."""
    rows, actions = [], 0
    names = grouping.identities(table)
    for number, own in table[table["review_rank"].notna()].groupby("cluster"):
        ordered = own.sort_values("distance", kind="stable")
        parts = [ordered]
        if len(set(seen(ordered, truth))) > 1:
            parts = [part for _, part in ordered.groupby("half")]
            actions += 1
        for part in parts:
            kinds = seen(part, truth)
            actions += 1
            said = max(sorted(set(kinds)), key=kinds.count)
            rows.append(part[["file", "page"]].assign(label=said, by=names[int(number)]))
    return pd.concat(rows), actions


def seen(ordered: pd.DataFrame, truth: dict[str, str]) -> list[str]:
    """Return the kinds of the images that the page shows of a cluster."""
    shown = pd.concat([ordered.head(SHOWN), ordered.tail(SHOWN)])
    return [truth[name] for name in shown["file"]]


def corrected(
    table: pd.DataFrame, truth: dict[str, str], said: pd.DataFrame, actions: int
) -> tuple[pd.DataFrame, int]:
    """Look through the review as far as actions go, and correct what the cluster has wrong."""
    by_cluster = dict(zip(said["file"], said["label"], strict=True))
    rows = []
    for row in table[table["review_rank"].notna()].sort_values("review_rank").itertuples():
        if actions == ACTIONS:
            break
        if by_cluster[row.file] != truth[row.file]:
            rows.append({"file": row.file, "page": row.page, "label": truth[row.file], "by": ""})
            actions += 1
    changed = {row["file"] for row in rows}
    return pd.concat([said[~said["file"].isin(changed)], pd.DataFrame(rows)]), actions


if __name__ == "__main__":
    main()
