"""Oracles: a classifier seen from outside, what it may be asked, and what asking has cost."""
