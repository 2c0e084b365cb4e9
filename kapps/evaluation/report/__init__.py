"""The report: page, terminal, and lists of runs."""
