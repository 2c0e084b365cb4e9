"""What `fit` is given: batches to train on, and batches to measure."""
