"""The attacker's own models: shadow, references and crafters, and the labels it guesses."""
