"""Pictures of training, results and data, each a `matplotlib.figure.Figure`.

They need no display, leave pyplot's global state alone, and are drawn for the width of a phone, in
colours that the colour-blind can tell apart (Okabe and Ito 2008). Functions:
    range_test             loss by learning rate
    learning_curves        loss, accuracy and learning rate by epoch
    compare_runs           the validation curves of several runs over one another
    confusion_matrix       who is taken for whom
    per_class_bars         F1 of each class, the weakest first
    reliability_diagram    confidence against accuracy, before and after the temperature
    image_grid             pictures with captions
    class_samples          some pictures of every class
    top_losses_grid        the worst mistakes, with what was said and what is true
    grad_cam_grid          pictures beside their heat maps
    png_bytes, save_png    a Figure as PNG
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "classes": ["confusion_matrix", "per_class_bars", "reliability_diagram"],
        "curves": ["compare_runs", "learning_curves"],
        "rates": ["range_test"],
        "figure": ["png_bytes", "save_png"],
        "pictures": ["class_samples", "grad_cam_grid", "image_grid", "top_losses_grid"],
    },
)
