"""What networks of one layer, optimizers and small networks show."""
