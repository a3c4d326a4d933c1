"""Supervised models, 2-D and 3-D, trained by published and by better recipes."""
