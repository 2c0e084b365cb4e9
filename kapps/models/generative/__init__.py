"""Autoencoders, VAEs, VQ-VAEs and GANs: models with a training step of their own."""
