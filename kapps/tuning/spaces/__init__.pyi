from .convolutional import (
    FILTERS as FILTERS,
    cnn as cnn,
    cnn_cost as cnn_cost,
)
from .files import (
    declare as declare,
    read_space as read_space,
)
from .learning import (
    OPTIMIZERS as OPTIMIZERS,
    augmentation as augmentation,
    optimization as optimization,
    optimizer as optimizer,
)
from .points import (
    Space as Space,
    canonical as canonical,
    changes as changes,
    declared as declared,
    shrunk as shrunk,
)
