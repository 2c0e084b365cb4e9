"""Many small trainings that are compared, and the search for the rate of each."""
