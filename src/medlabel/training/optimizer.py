"""What moves the weights: torch's fused kernels, called without the classes around them.

An instance of `torch.optim.Optimizer` imports torch's compiler, which takes a process a second and
a half, and its `step` takes a small network twice as long as the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from medlabel.params import Recipe

BETAS, EPSILON = (0.9, 0.999), 1e-8  # torch's defaults


class Optimizer:
    """SGD with momentum, Adam or AdamW, as `torch.optim` has them."""

    def __init__(self, parameters: Iterable[Tensor], recipe: Recipe) -> None:
        self.recipe = recipe
        self.parameters = list(parameters)
        moments = 1 if recipe.optimizer == "sgd" else 2
        self.moments = [[torch.zeros_like(p) for p in self.parameters] for _ in range(moments)]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move all parameters by their gradients, at a learning rate, and forget the gradients."""
        # A parameter that did not take part has none.
        used = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        moved, *moments, steps = (
            [each[i] for i in used] for each in (self.parameters, *self.moments, self.steps)
        )
        slopes = [slope for p in moved if (slope := p.grad) is not None]
        decay = self.recipe.weight_decay
        if self.recipe.optimizer == "sgd":
            sgd(
                moved,
                slopes,
                list(moments[0]),
                fused=True,
                lr=rate,
                momentum=self.recipe.momentum,
                weight_decay=decay,
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )
        else:
            adam(
                moved,
                slopes,
                moments[0],
                moments[1],
                [],
                steps,
                fused=True,
                decoupled_weight_decay=self.recipe.optimizer == "adamw",
                lr=rate,
                weight_decay=decay,
                beta1=BETAS[0],
                beta2=BETAS[1],
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )
        for parameter in moved:
            parameter.grad = None

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Name what changes from step to step."""
        kept = {f"moment_{i}": each for i, each in enumerate(self.moments)}
        return {**kept, "steps": self.steps}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Take over what `state_dict` named."""
        for name, tensors in self.state_dict().items():
            for tensor, given in zip(tensors, state[name], strict=True):
                tensor.copy_(given)
