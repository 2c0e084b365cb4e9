"""Plots of planes, functions, paths and comparisons."""
