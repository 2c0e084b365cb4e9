"""Plots of images and their classes."""
