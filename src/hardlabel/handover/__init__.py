"""Records for other tools: MLflow runs, and an evaluator that MLflow finds by itself."""
