"""SYNTHETIC images, made from words, and classifiers that learn from them."""
