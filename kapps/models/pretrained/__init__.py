"""Networks trained on ImageNet, and classifiers on top of them."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, submodules=["backbone_table", "transfer"])
