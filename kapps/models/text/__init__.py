"""Character models."""
