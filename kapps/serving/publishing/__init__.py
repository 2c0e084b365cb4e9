"""A trained model becomes a SavedModel: signatures by family, card, self-check."""
