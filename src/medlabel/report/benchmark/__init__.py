"""Figures, tables and page of the supervised benchmark; nothing here trains."""
