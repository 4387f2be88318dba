"""The audits: one file per kind of run, and the rooms they share (cases, the attacker's models, the game, findings)."""
