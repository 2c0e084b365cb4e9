"""What `benchmarks/run.py` stands on: contestants in processes of their own, measured in turns."""
