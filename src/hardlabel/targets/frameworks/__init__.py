"""Models of other frameworks: each becomes a torch module, an object with `predict` and `classes_`, or an oracle."""
