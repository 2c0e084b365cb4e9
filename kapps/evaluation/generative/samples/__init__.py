"""Samples against real images: features, distances, two-sample tests."""
