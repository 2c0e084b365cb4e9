"""VQ-VAEs: codebook, networks, prior."""
