"""Figures and tables of one model for many sets."""
