"""One script per network, each runs on its own; installed as `kapps.recipes` (`kapps recipes`)."""
