"""Parameters of networks that are made by them; all others are known by name (`networks.names`)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from medlabel.params.base import Count, Part


class Network(Part):
    """A small convolutional network: blocks of convolution, pooling and ReLU, then layers."""

    kind: Literal["cnn"] = Field(
        description="Each block convolves without padding, takes the maximum of 2 x 2 pixels, then "
        "ReLU; dropout stands before each fully connected layer."
    )
    channels: list[Count] = Field(min_length=1, description="Output channels of each block.")
    kernels: list[Count] = Field(min_length=1, description="Edge of each block's kernel in pixels.")
    hidden: list[Count] = Field(description="Width of each hidden layer after the blocks.")
    dropout: float = Field(ge=0, lt=1, description="Part of the activations that is dropped.")

    @model_validator(mode="after")
    def _a_kernel_for_each_block(self) -> Self:
        if len(self.kernels) != len(self.channels):
            raise ValueError(
                f"kernels: {self.kernels} given, one for each of channels ({self.channels}) allowed"
            )
        return self
