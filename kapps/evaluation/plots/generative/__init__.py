"""Plots of samples, reconstructions and latent spaces."""
