"""Networks of one layer, many small networks at once, back-propagation by hand."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, submodules=["backprop", "stacked"])
