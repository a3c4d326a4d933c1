"""What labellings cost: seconds by labelling and number of images, for section `without_labels`.

python bench/labellings.py --out results/bench/labellings.csv
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from medlabel import compute, files, params
from medlabel.evaluate.without_labels import Folder, Inputs, Seen, drawn_folder, look
from medlabel.labels import methods
from medlabel.randomness import stream

ENTRY, CONTENT, REFERENCE = "real", "chest_breast_vessel", "locked"
SIZES = [50, 500, 5000]
REPEATS = 3  # the fastest counts


def main() -> None:
    """Time labellings and write; or calibrate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, help="CSV to write")
    options = parser.parse_args()
    compute.prepare("cpu", 1)
    table = pd.DataFrame(timed(options.data))
    if options.out:
        with files.replacing(options.out) as partial:
            table.to_csv(partial, index=False, float_format="%.3g", lineterminator="\n")
    print(table.pivot_table(index="labelling", columns="images", values="seconds").to_string())


def timed(data: Path) -> Iterator[dict[str, Any]]:
    """Give the seconds of every labelling and size, and of the estimate."""
    settings = params.read([Path("params.yaml")])
    asked = settings.without_labels[ENTRY]
    content = asked.contents[CONTENT]
    inputs = Inputs(
        {content.images: data / "pools" / f"{content.images}.parquet"},
        {(content.images, REFERENCE): data / "embeddings" / content.images / "locked.parquet"},
        {(REFERENCE, content.prompts): data / "words" / "locked" / f"{content.prompts}.parquet"},
    )
    seen = look(inputs, REFERENCE, content.images, content)
    for size in SIZES:
        folder = drawn_folder(seen, size, 0.5, 0.3, stream(0, "bench", size))
        for name in asked.labellings:
            taken = [_seconds(seen, settings.labellings[name], folder) for _ in range(REPEATS)]
            yield {"labelling": name, "images": size, "seconds": min(taken)}


def _seconds(seen: Seen, part: params.AnyLabelling, folder: Folder) -> float:
    started = time.perf_counter()
    methods.learn(part, seen.gather(folder.images)).predict(folder.images)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
