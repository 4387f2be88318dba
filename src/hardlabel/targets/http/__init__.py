"""Models behind an address: what they are asked in which protocol, and how their answers are read."""
