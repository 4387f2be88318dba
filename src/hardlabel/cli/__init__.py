"""The command line: commands, options made from the settings, progress, lists."""
