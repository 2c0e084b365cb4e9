"""What computes: worker processes, and what runs in them."""
