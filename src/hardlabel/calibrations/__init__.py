"""Calibrations: from a signal, and the same signal on shadow models, to a membership score. One file each."""
