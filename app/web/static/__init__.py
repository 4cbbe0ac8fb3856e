"""Style sheet and icon of the pages (a package, so that the wheel carries them)."""
