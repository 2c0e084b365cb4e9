"""One script a network, each runs by itself; installed as `kapps.recipes` (`kapps recipes`)."""
