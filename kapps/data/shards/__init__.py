"""Shards: files that hold many images with their labels, on this machine or elsewhere."""
