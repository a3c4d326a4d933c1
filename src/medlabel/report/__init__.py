"""Figures, tables and page of a study; nothing here trains or scores.

Each figure is a module with a function ``draw``, which takes what it shows and the files to write,
.svg or .png, and refuses files that are missing or damaged with one line.
"""
