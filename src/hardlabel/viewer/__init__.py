"""A local page over all runs, to read their reports and to compare them; it changes nothing."""
