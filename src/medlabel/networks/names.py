"""Names of the networks, known without importing any, and what is known of each beforehand."""

from __future__ import annotations

TIMM = "timm:"
# An encoder's image tower with a new last layer, both trained, or the layer alone.
ENCODER, FROZEN = "encoder:", "frozen:"
# Known in published tables by the tower alone: stands for `encoder:` and that name.
PUBLISHED_TOWERS = ("medclip_vit",)
MEDVIT = "medvit_small"
# What tables of published values call networks that have another name here.
PUBLISHED_AS = {"vit3d_pooled": "vit3d"}
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
    MEDVIT: "networks.medvit",
    **dict.fromkeys(PUBLISHED_TOWERS, "networks.encoder_head"),
}
VOLUMETRIC = {
    **{f"{name}_{kind}": "networks.resnet" for name in RESNETS for kind in KINDS},
    "vit3d": "networks.vit3d",
    "vit3d_pooled": "networks.vit3d_pooled",
    JOINT: "networks.joint",
    SURFACE: "networks.pretrained",
}


def misfit(name: str, volumetric: bool, own: tuple[str, ...] = ()) -> str | None:
    """Say in one clause why a network cannot be trained on a dataset's dimension, or None.

    `own` names the networks that params.yaml makes, all of them flat.
    """
    flat = (*own, *FLAT)
    fitting, other = (tuple(VOLUMETRIC), flat) if volumetric else (flat, tuple(VOLUMETRIC))
    open_ended = name.startswith((TIMM, ENCODER, FROZEN))
    if name in fitting or (open_ended and not volumetric):
        return None
    families = f" or {TIMM}<model>, {ENCODER}<encoder>, {FROZEN}<encoder>"
    allowed = ", ".join(fitting) + ("" if volumetric else families)
    known = name in other or open_ended
    reason = f"does not fit {'volumes' if volumetric else 'images'}" if known else "is not known"
    return f"network {name!r} {reason}, {allowed} allowed"


def module_of(name: str) -> str:
    """Return the module, below the package, that builds a network."""
    if name.startswith(TIMM):
        return "networks.timm_models"
    if name.startswith((ENCODER, FROZEN)):
        return "networks.encoder_head"
    return (FLAT | VOLUMETRIC).get(name, "networks.small")


def tower_of(name: str) -> str | None:
    """Return the reference of the encoder whose image tower a network has; None of others."""
    if name in PUBLISHED_TOWERS:
        return name
    found = [name.removeprefix(one) for one in (ENCODER, FROZEN) if name.startswith(one)]
    return found[0] if found else None


def placed(name: str, folder: str) -> str:
    """Return the name under which `registry.build` finds a network's encoder: in a folder."""
    return f"{FROZEN if name.startswith(FROZEN) else ENCODER}{folder}"


def published_as(name: str) -> str:
    """Return what tables of published values call a network: timm's models by timm's names."""
    return PUBLISHED_AS.get(name, name.removeprefix(TIMM))
