"""What a model of series is worth."""
