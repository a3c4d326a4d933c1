"""AugMix: an image mixed with chains of random operations on it (Hendrycks et al. 2020).

Hendrycks, Mu, Cubuk, Zoph, Gilmer & Lakshminarayanan, AugMix: A simple data processing method to
improve robustness and uncertainty, ICLR 2020, as torchvision has it. The loss that makes answers to
several mixtures alike is not part of it here, nor was it in the published trainings that name
AugMix.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WHITE = 255
SEEDS = 2**62
# As in the paper's experiments and its authors' code.
SEVERITY = 3  # of 10
WIDTH = 3  # chains
ALPHA = 1.0  # of the Dirichlet and beta distributions of the shares
ANY_DEPTH = -1  # torchvision's word for one to three operations a chain


def transform(seed: int) -> Callable[[Tensor], Tensor]:
    """Make AugMix of flat images.

    Each of three chains applies one to three of nine operations: contrast stretched, histogram
    equalised, fewer grey levels, bright pixels inverted, a rotation, shears and shifts. The mean of
    the chains, weighed at random, is mixed with the image at random. Operations that alter
    brightness, contrast, colour or sharpness are left out, as in the paper, because its tests of
    robustness do so.

    Parameters
    ----------
    seed
        The same seed gives the same mixtures to the same sequence of images.

    Returns
    -------
    callable
        Takes and returns float32 of shape (1 or 3, H, W), intensities in [0, 1] and, since the
        operations work on 8 bits, multiples of 1/255.
    """
    from torchvision.transforms import v2

    mix = v2.AugMix(
        severity=SEVERITY,
        mixture_width=WIDTH,
        chain_depth=ANY_DEPTH,
        alpha=ALPHA,
        all_ops=False,
    )
    random = torch.Generator().manual_seed(seed)

    def apply(image: Tensor) -> Tensor:
        number = int(torch.randint(SEEDS, (), generator=random))
        # torchvision draws from the global generator of the CPU, which dropout needs as it was.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(number)
            mixed: Tensor = mix((image * WHITE).round().to(torch.uint8))
        return mixed.float() / WHITE

    return apply
