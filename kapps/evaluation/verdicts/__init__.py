"""Figures in words: does it over-fit, did it collapse, what to beware of."""
