"""What is known of networks before any is imported."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from medlabel import fingerprint
from medlabel.networks import footprint, names
from medlabel.params import Network, Params

CNN = Network(kind="cnn", channels=[4], kernels=[3], hidden=[], dropout=0.0)


def memory(network: Network | str, batch_size: int, edge: int = 28, volumetric: bool = True) -> int:
    return footprint.memory_mb(
        network, edge=edge, volumetric=volumetric, stem="auto", batch_size=batch_size
    )


@pytest.mark.parametrize("edge", [28, 64, 224])
@pytest.mark.parametrize(
    "network", [CNN, *names.FLAT, *names.VOLUMETRIC, "timm:resnet10t", "encoder:locked"]
)
def test_memory_is_positive_and_rises_with_the_batch(network: Network | str, edge: int) -> None:
    for volumetric in (False, True):
        found = [memory(network, batch, edge, volumetric) for batch in (1, 8, 32, 128)]
        assert found[0] > 0
        assert found == sorted(found)


def test_memory_of_volumes_rises_with_batch_edge_stem_and_depth() -> None:
    for small, large in itertools.pairwise([memory("resnet18_acs", batch) for batch in (1, 8, 64)]):
        assert small < large
    assert memory("resnet18_acs", 8, 28) < memory("resnet18_acs", 8, 64)
    assert memory("resnet18_acs", 8) < memory("resnet50_acs", 8)
    given = {"edge": 28, "volumetric": True, "batch_size": 8}
    halved, dense = (
        footprint.memory_mb("resnet18_acs", stem=stem, **given) for stem in ("halved", "dense")
    )
    assert halved < dense


@pytest.mark.parametrize(
    ("network", "edge", "batch_size", "peak"),
    [
        ("resnet18", 28, 32, 1631),  # judging 512 images included
        ("resnet18", 28, 128, 1631),
        ("resnet50", 28, 32, 3885),
        ("resnet50", 28, 128, 4716),
        ("resnet18", 224, 8, 1170),
        ("resnet50", 224, 8, 1928),
        ("wide_cnn", 28, 128, 635),
        ("medvit_small", 64, 32, 2483),
        ("medvit_small", 224, 10, 4258),
        ("frozen:locked", 28, 32, 1292),
        ("encoder:phantom_clip@60", 28, 32, 997),
    ],
)
def test_estimates_are_above_what_was_measured(
    network: str, edge: int, batch_size: int, peak: int
) -> None:
    assert memory(network, batch_size, edge, volumetric=False) > peak


def test_names_say_what_fits() -> None:
    assert names.misfit("capstone", False, ("capstone",)) is None
    assert names.misfit("timm:anything", False) is None
    assert names.misfit("resnet18_acs", True) is None
    assert names.misfit("encoder:locked", False) is None
    assert names.misfit("frozen:phantom_clip.2@60", False) is None
    for name, volumetric, reason in (
        ("capstone", True, "does not fit volumes"),
        ("timm:anything", True, "does not fit volumes"),
        ("vit3d", False, "does not fit images"),
        ("lenet", False, "is not known"),
        ("encoder:locked", True, "does not fit volumes"),
        ("frozen:locked", True, "does not fit volumes"),
    ):
        assert reason in str(names.misfit(name, volumetric, ("capstone",)))


def test_towers_of_encoders_are_known_and_placed() -> None:
    assert names.tower_of("encoder:phantom_clip@60") == "phantom_clip@60"
    assert names.tower_of("frozen:locked") == "locked"
    assert names.tower_of("medclip_vit") == "medclip_vit"
    assert names.tower_of("resnet18") is None
    assert names.placed("frozen:locked", "a/b") == "frozen:a/b"
    assert names.placed("medclip_vit", "a/b") == "encoder:a/b"


def test_every_name_has_its_module(default_params: Params) -> None:
    open_ended = ["timm:any", "encoder:any", "frozen:any"]
    for name in [*names.FLAT, *names.VOLUMETRIC, *open_ended, *default_params.networks]:
        assert fingerprint.of(names.module_of(name))


def test_names_and_parameters_are_known_without_torch() -> None:
    code = "import sys, medlabel.params, medlabel.networks.names; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
