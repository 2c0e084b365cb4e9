"""What autoencoders, VAEs, VQ-VAEs and GANs are worth."""
