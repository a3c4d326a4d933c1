"""Names of the networks, known without importing any, and what is known of each beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # params imports this module
    from medlabel.params.networks import Network

TIMM = "timm:"
RESNETS = ("resnet18", "resnet50")
KINDS = ("acs", "2.5d", "3d")
JOINT = "resnet18_acs_vit3d"
# Each name with the module that builds it; networks of params.yaml are built by `networks.small`.
FLAT = {
    "wide_cnn": "networks.small",
    **dict.fromkeys(RESNETS, "networks.resnet"),
    "vit2d": "networks.vit3d",
    "vit_base_patch16_224": "networks.timm_models",
}
VOLUMETRIC = {
    **{f"{name}_{kind}": "networks.resnet" for name in RESNETS for kind in KINDS},
    "vit3d": "networks.vit3d",
    JOINT: "networks.joint",
}


def misfit(name: str, volumetric: bool, own: tuple[str, ...] = ()) -> str | None:
    """Say in one clause why a network cannot be trained on a dataset's dimension, or None.

    Parameters
    ----------
    name
        Of the network.
    volumetric
        Whether the dataset holds volumes.
    own
        Networks that params.yaml makes, all of them flat.
    """
    flat = (*own, *FLAT)
    fitting, other = (tuple(VOLUMETRIC), flat) if volumetric else (flat, tuple(VOLUMETRIC))
    if name in fitting or (name.startswith(TIMM) and not volumetric):
        return None
    allowed = ", ".join(fitting) + ("" if volumetric else f" or {TIMM}<model>")
    known = name in other or name.startswith(TIMM)
    reason = f"does not fit {'volumes' if volumetric else 'images'}" if known else "is not known"
    return f"network {name!r} {reason}, {allowed} allowed"


def module_of(name: str) -> str:
    """Return the module, below the package, that builds a network."""
    if name.startswith(TIMM):
        return "networks.timm_models"
    return (FLAT | VOLUMETRIC).get(name, "networks.small")


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
