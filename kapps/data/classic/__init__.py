"""Generated points of the plane, and functions."""
