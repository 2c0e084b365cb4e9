"""What is seen of a training while it runs: its progress, gradients, time, and other trackers."""
