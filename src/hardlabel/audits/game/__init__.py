"""The membership game: attacks learn on the attacker's own models, then play on the target."""
