"""The records that finished runs write. Reading a record needs none of the code that made it."""
