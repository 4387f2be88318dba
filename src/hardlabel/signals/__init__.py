"""Signals: something measured about a sample by asking a model. One file each."""
