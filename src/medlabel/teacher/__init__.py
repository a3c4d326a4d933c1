"""The teacher: a CLIP-style model that labels images from text prompts alone."""
