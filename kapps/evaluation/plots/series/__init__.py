"""Plots of series."""
