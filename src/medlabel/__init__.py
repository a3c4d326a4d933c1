"""Label medical images without a human labeller, and measure how well that works."""

__version__ = "0.2.0"
