"""Reports: one self-contained page per audit, opened by a verdict in plain words."""
