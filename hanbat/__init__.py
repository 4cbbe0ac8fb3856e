"""The ground floor: the model of `sites.yml`, errors, settings as data, and the `hanbat` command.

May import: nothing of ours. The command loads each group of subcommands only when it is called
(`hanbat.cli`), and the renderer its contributors (`hanbat.rendering`), both by name, so that the
ground floor never depends on what stands on it.
"""

__version__ = "0.1.0"
