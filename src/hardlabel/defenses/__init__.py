"""Defenses: what a model's owner may do against membership inference, in training or when the model answers."""
