"""What an image classifier is worth, and where it looks."""
