"""Names of the networks, known without importing any, and what is known of each beforehand."""

from __future__ import annotations

TIMM = "timm:"
RESNETS = ("resnet18", "resnet50")
KINDS = ("acs", "2.5d", "3d")
JOINT = "resnet18_acs_vit3d"
SURFACE = "efficientnet_lite0_surface"
PACKAGED = ("efficientnet_lite0", SURFACE)  # a package holds first weights for them
# Each name with the module that builds it; networks of params.yaml are built by `networks.small`.
FLAT = {
    "wide_cnn": "networks.small",
    **dict.fromkeys(RESNETS, "networks.resnet"),
    "vit2d": "networks.vit3d",
    "vit_base_patch16_224": "networks.timm_models",
    "efficientnet_lite0": "networks.pretrained",
}
VOLUMETRIC = {
    **{f"{name}_{kind}": "networks.resnet" for name in RESNETS for kind in KINDS},
    "vit3d": "networks.vit3d",
    JOINT: "networks.joint",
    SURFACE: "networks.pretrained",
}


def misfit(name: str, volumetric: bool, own: tuple[str, ...] = ()) -> str | None:
    """Say in one clause why a network cannot be trained on a dataset's dimension, or None.

    `own` names the networks that params.yaml makes, all of them flat.
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
