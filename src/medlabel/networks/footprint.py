"""How much memory trainings need: for schedulers alone, so that an estimate retrains nothing."""

from __future__ import annotations

from medlabel.networks.names import FROZEN, MEDVIT, PACKAGED, RESNETS, tower_of
from medlabel.params.networks import Network

SEEN = {"dense": 1.0, "halved": 1 / 4, "imagenet": 1 / 16}  # pixels that a stem passes on
EACH = {"resnet18": 12, "resnet50": 32}  # MiB for an image of 28² pixels behind the stem
JUDGED = 128  # judging 512 images at once needs no more than training on so many


def memory_mb(
    network: Network | str, *, edge: int, volumetric: bool, stem: str, batch_size: int
) -> int:
    """Estimate the memory that a training on a CPU needs, in MiB.

    Basis, peaks in float32 with Adam: ResNet18 on 128 images of 28 pixels 1.6 GiB, ResNet50 4.6; on
    8 of 224 pixels 1.2 and 1.9; ResNet18-ACS with the halved stem on 32 volumes of 28 voxels an
    edge 3.2; a pretrained tower on the surfaces of 16 volumes 2.5; MedViT-small on 10 images of 224
    pixels 4.2; a layer on the default teacher's frozen tower 1.3. Other networks have 2 GB for
    small images. Activations grow with the pixels or voxels that the first stage sees and with the
    batch.
    """
    if network == MEDVIT:
        # Judging 512 images at once needs as much as training on 24.
        return round(1700 + 360 * (edge / 224) ** 2 * max(batch_size, 24))
    if isinstance(network, str) and tower_of(network) is not None:
        # A tower enlarges images to what it learnt from; a frozen one sees few at once.
        frozen = network.startswith(FROZEN)
        return 2500 if frozen else round(1500 + 80 * max(batch_size, JUDGED / 2))
    if network in PACKAGED:
        share = max(1.0, (edge / (64 if volumetric else 112)) ** 2)  # what it enlarges to
        return round(1200 + 40 * share * max(batch_size, JUDGED / 2))
    dense = stem == "dense" or (stem == "auto" and edge < 64)
    if network in RESNETS and not volumetric:
        seen = SEEN["dense" if dense else "imagenet" if stem == "auto" else stem]
        each = EACH[str(network)] * seen * (edge / 28) ** 2
        return round(1200 + each * max(batch_size, JUDGED))
    if not isinstance(network, str) or not (volumetric or edge > 64):
        return 2000
    share = (edge / 28) ** 3 if volumetric else (edge / 224) ** 2 * 2
    deep = 3 if "50" in network else 1
    return round(1500 + 75 * batch_size * share * (8 if volumetric and dense else 1) * deep)
