"""Figures, tables and the report; nothing here trains."""
