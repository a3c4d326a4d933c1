"""Labels: from embeddings and words to classes; nothing here needs a network."""
