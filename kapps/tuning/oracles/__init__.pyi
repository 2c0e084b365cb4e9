from .base import (
    asking as asking,
    draw_seed as draw_seed,
)
from .factory import (
    ALGORITHMS as ALGORITHMS,
    adopted as adopted,
    oracle as oracle,
)
from .hyperband import HyperbandOracle as HyperbandOracle
from .objectives import validation_objective as validation_objective
from .standard import (
    BayesianOracle as BayesianOracle,
    GridOracle as GridOracle,
    RandomOracle as RandomOracle,
)
