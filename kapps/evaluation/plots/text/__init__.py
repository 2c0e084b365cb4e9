"""Plots of character models."""
