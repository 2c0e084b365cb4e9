"""`fit` and what it needs to go on after a kill: checkpoints, callbacks with a state, phases."""
