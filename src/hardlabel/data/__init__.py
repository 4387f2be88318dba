"""Data: samples, the domains they live in, where they come from, how they are split."""
