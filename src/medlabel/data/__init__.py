"""Images: MedMNIST's files, phantoms, and mixtures of both."""
