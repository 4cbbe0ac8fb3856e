"""Benchmarks on the lab: what Hanbat's controller brings beside Patroni alone, and what zero loss costs.

May import: everything below `lab`, and `lab.drill`.
"""
