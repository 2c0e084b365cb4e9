from . import (
    blocks as blocks,
    data as data,
    evaluation as evaluation,
    layers as layers,
    losses as losses,
    models as models,
    serving as serving,
    training as training,
    tuning as tuning,
)

__version__: str
