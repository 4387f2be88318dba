"""How a model is asked: modules, estimators and oracles all become an `AskableModel`."""
