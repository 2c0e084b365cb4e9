"""The run directory and what stands in it. Nothing here imports TensorFlow."""
