"""Search spaces: functions from hyperparameters to keyword arguments of the ordinary builders.

    model = models.cnn(image_shape, classes, **spaces.cnn(hp, image_shape, classes))

Every point can be built. Where a choice depends on those before it (a window has to fit the map
that reaches it, a network has to stay under its number of parameters), it is declared in full, so
that the space is known before the first trial, and then shrunk: a value that is not possible at its
place gives way to one that is, spread evenly over them; too many filters become fewer in every
stage. The value that is used is written back into `hp.values`, which is the canonical form of the
point: reports show what was built, and two names of the same network count once.

cnn, cnn_cost               convolutional networks (and what they cost, without building them)
optimization, optimizer, augmentation
                            how they are trained
declared, canonical         all hyperparameters of a space; the form in which a point is used
shrunk                      a choice among what is possible at a point
read_space, declare         a space in a small TOML or JSON file (reading needs no TensorFlow)

Other networks are sought by the flags of their recipes: see `kapps.tuning.spaces.recipes`.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
