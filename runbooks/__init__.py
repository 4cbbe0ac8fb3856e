"""Runbooks as data, the engine that runs them over ssh, and the journal.

Empty until part 4. May import: everything below it (`docs/architecture.md`, Layers).
"""
