"""Metrics of leakage, each with an interval: ROC, AUC, rates at a threshold, TPR at an FPR, differences."""
