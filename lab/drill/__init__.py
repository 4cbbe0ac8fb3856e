"""Drills: a scenario run on the lab, its load, its audit, its evidence and its report."""
