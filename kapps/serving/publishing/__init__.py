"""A trained model becomes a SavedModel: the signatures of each family."""
