"""What every SavedModel is made with: graph, self-check, card, warm-up requests, versions."""
