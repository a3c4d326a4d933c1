"""What is told of a STAND-IN where the licence and checksums of official files are told."""

from __future__ import annotations

from pathlib import Path

from medlabel import files


def write(flag: str, size: int, path: Path) -> None:
    """Write the facts of a drawn file to the .json beside it, as `medmnist.fetch` does."""
    facts = {
        "flag": f"STAND-IN for {flag}",
        "size": size,
        "url": f"drawn by medlabel stand_in {flag}, not measured on anyone",
        "md5": files.digest(path, "md5"),
        "sha256": files.digest(path),
        "bytes": path.stat().st_size,
        "licence": "Apache-2.0",
        "non_commercial": False,
    }
    files.write_json(path.with_suffix(".json"), facts)
