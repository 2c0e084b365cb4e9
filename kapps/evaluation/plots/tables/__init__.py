"""Plots of tables: regressions, thresholds, columns."""
