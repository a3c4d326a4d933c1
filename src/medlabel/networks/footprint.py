"""How much memory trainings need: for schedulers alone, so that an estimate retrains nothing."""

from __future__ import annotations

from medlabel.params.networks import Network


def memory_mb(
    network: Network | str, *, edge: int, volumetric: bool, stem: str, batch_size: int
) -> int:
    """Estimate the memory that a training needs, in MiB.

    Basis: 1 GiB for the interpreter, torch and small networks; ResNet18-ACS with the halved stem
    peaked at 3.2 GiB on 32 volumes of 28 voxels an edge, and activations grow with the number of
    voxels that the first stage sees and with the batch.
    """
    if not isinstance(network, str) or not (volumetric or edge > 64):
        return 2000
    share = (edge / 28) ** 3 if volumetric else (edge / 224) ** 2 * 2
    dense = 8 if volumetric and (stem == "dense" or (stem == "auto" and edge < 64)) else 1
    deep = 3 if "50" in network else 1
    return round(1500 + 75 * batch_size * share * dense * deep)
