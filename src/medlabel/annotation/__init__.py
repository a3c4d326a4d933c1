"""One's own images: folders in, tables out."""
