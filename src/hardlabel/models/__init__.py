"""Models: architectures and how they are trained."""
