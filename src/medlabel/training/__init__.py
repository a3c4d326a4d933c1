"""Training: one loop for students and supervised networks alike."""
