"""Figures: accuracy, calibration, errors of a regression."""
