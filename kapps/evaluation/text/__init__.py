"""What a character model is worth, beside counts and compressors."""
