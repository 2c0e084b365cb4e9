from . import oracles as oracles, spaces as spaces
from .callbacks import (
    LastEpoch as LastEpoch,
    Reporter as Reporter,
)
from .flags import (
    RefitFlags as RefitFlags,
    SearchFlags as SearchFlags,
    check_hyperband as check_hyperband,
    check_search as check_search,
    epochs_of_trial as epochs_of_trial,
    search_is_done as search_is_done,
    search_metrics as search_metrics,
    search_with_flags as search_with_flags,
    serve_instead as serve_instead,
    stop_rule as stop_rule,
    winner_notes as winner_notes,
)
from .hparams import write_hparams as write_hparams
from .hypermodels import HyperModelTrials as HyperModelTrials
from .oracles.factory import oracle as oracle
from .progress import print_trial as print_trial
from .recipe_trials import (
    check_data as check_data,
    copy_run as copy_run,
    recipe_module as recipe_module,
)
from .results import (
    Record as Record,
    Results as Results,
    read_results as read_results,
    write_table as write_table,
)
from .search import run_search as run_search
from .spaces.files import (
    declare as declare,
    read_space as read_space,
)
from .spaces.points import hyperparameters as hyperparameters
from .state import Budget as Budget
from .tuner import (
    BayesianOptimization as BayesianOptimization,
    GridSearch as GridSearch,
    Hyperband as Hyperband,
    RandomSearch as RandomSearch,
    Tuner as Tuner,
)
from .workers.agent import serve_chief as serve_chief
from .workers.trial import (
    SearchError as SearchError,
    Trial as Trial,
)
from .workers.wire import remote_role as remote_role
from .workers.worker import copy_checkpoints as copy_checkpoints
