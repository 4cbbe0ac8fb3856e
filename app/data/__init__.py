"""Dated tables with their sources, as JSON."""
