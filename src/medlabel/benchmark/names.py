"""Names of the benchmark's networks, known without importing any."""

from __future__ import annotations

TIMM = "timm:"
RESNETS = ("resnet18", "resnet50")
KINDS = ("acs", "2.5d", "3d")
JOINT = "resnet18_acs_vit3d"
FLAT = (*RESNETS, "vit2d", "vit_base_patch16_224")
VOLUMETRIC = (*(f"{name}_{kind}" for name in RESNETS for kind in KINDS), "vit3d", JOINT)


def misfit(name: str, volumetric: bool) -> str | None:
    """Say in one clause why a network cannot be trained on a dataset's dimension, or None."""
    fitting, other = (VOLUMETRIC, FLAT) if volumetric else (FLAT, VOLUMETRIC)
    if name in fitting or (name.startswith(TIMM) and not volumetric):
        return None
    allowed = ", ".join(fitting) + ("" if volumetric else f" or {TIMM}<model>")
    known = name in other or name.startswith(TIMM)
    reason = f"does not fit {'volumes' if volumetric else 'images'}" if known else "is not known"
    return f"model {name!r} {reason}, {allowed} allowed"
