"""Subcommands of the ground floor itself; every other group lives in the package that it belongs to."""
