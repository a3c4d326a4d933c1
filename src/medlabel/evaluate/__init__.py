"""Scores and statistics; nothing here trains."""
