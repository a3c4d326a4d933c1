"""The optimisers against torch's classes."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from medlabel.training.optimizer import Optimizer
from tests.training.world import settings

KINDS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def slopes(network: nn.Module, step: int) -> None:
    torch.manual_seed(step)
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", list(KINDS))
def test_each_moves_weights_as_torchs_class_does(name: str, decay: float) -> None:
    ours, theirs = (nn.Linear(7, 5) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    recipe = settings(optimizer=name, weight_decay=decay).recipe
    options = {"momentum": recipe.momentum} if name == "sgd" else {}
    made = Optimizer(ours.parameters(), recipe)
    expected = KINDS[name](theirs.parameters(), 0.1, weight_decay=decay, fused=True, **options)
    for step, rate in enumerate((0.1, 0.1, 0.02, 0.3)):
        slopes(ours, step)
        slopes(theirs, step)
        expected.param_groups[0]["lr"] = rate
        made.step(rate)
        expected.step()
        assert all(p.grad is None for p in ours.parameters())
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(one, other)


def test_a_parameter_without_gradient_stays() -> None:
    network = nn.Linear(3, 2)
    before = network.bias.detach().clone()
    made = Optimizer(network.parameters(), settings(weight_decay=0.5).recipe)
    network.weight.grad = torch.ones_like(network.weight)
    made.step(0.1)
    assert torch.equal(network.bias, before)


def test_torchs_compiler_stays_away() -> None:
    code = (
        "import sys, torch; from tests.training.test_optimizer import *; n = nn.Linear(2, 2);"
        "o = Optimizer(n.parameters(), settings().recipe); slopes(n, 0); o.step(0.1);"
        "print('torch._dynamo' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
