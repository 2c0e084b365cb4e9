from .batches.feature_cache import (
    FeatureBatches as FeatureBatches,
    cached_batches as cached_batches,
    cached_features as cached_features,
    feature_directory as feature_directory,
    features_by_split as features_by_split,
    gatherer as gatherer,
)
from .batches.images import (
    classifier_batches as classifier_batches,
    image_batches as image_batches,
    training_targets as training_targets,
)
from .batches.series import series_batches as series_batches
from .comparing.cells import Candidate as Candidate, Cells as Cells
from .comparing.rate_grid import (
    TriedRates as TriedRates,
    best_rate as best_rate,
    kept_cell as kept_cell,
    lowest_losses as lowest_losses,
    share_measurements as share_measurements,
    try_rates as try_rates,
)
from .distributed.devices import (
    check_batch as check_batch,
    check_devices as check_devices,
    cluster as cluster,
    named_devices as named_devices,
    scaled_learning_rate as scaled_learning_rate,
    strategy as strategy,
)
from .distributed.ordering import order_for_replicas as order_for_replicas
from .distributed.patch import patch_for_replicas as patch_for_replicas
from .fitting.calibrated_loss import CalibratedLoss as CalibratedLoss
from .fitting.greedy import greedy_pretrain as greedy_pretrain
from .fitting.kept_epoch import best_epoch as best_epoch, kept_by as kept_by
from .fitting.linear_probe import (
    CountsAsItBegan as CountsAsItBegan,
    begin_with_regression as begin_with_regression,
    label_weights as label_weights,
    logistic_weights as logistic_weights,
    number_weights as number_weights,
)
from .fitting.more_epochs import (
    fit_with_more as fit_with_more,
    later as later,
    more_stages as more_stages,
)
from .fitting.phases import (
    JoinedRows as JoinedRows,
    Phase as Phase,
    better_phase as better_phase,
    fit_phase as fit_phase,
    join_histories as join_histories,
    joined as joined,
    phase_rates as phase_rates,
)
from .fitting.resumable import History as History, fit as fit
from .fitting.stateful_callbacks import WeightAverage as WeightAverage
from .fitting.warm_start import begin_with as begin_with
from .flags.checks import (
    check as check,
    check_directories as check_directories,
    command as command,
)
from .flags.continuation import ContinuationFlags as ContinuationFlags
from .flags.fine_tuning import (
    FINE_TUNING as FINE_TUNING,
    PROBE as PROBE,
    FineTuningFlags as FineTuningFlags,
)
from .flags.groups import (
    AugmentationFlags as AugmentationFlags,
    AveragingFlags as AveragingFlags,
    ClassifierFlags as ClassifierFlags,
    CommonFlags as CommonFlags,
    ElementwiseOptimizer as ElementwiseOptimizer,
    FastFlags as FastFlags,
    FoldFlags as FoldFlags,
    ImageFlags as ImageFlags,
    OptimizationFlags as OptimizationFlags,
    OptimizerName as OptimizerName,
    PeerFlags as PeerFlags,
    Presets as Presets,
    RunFlags as RunFlags,
    ScheduleName as ScheduleName,
    TargetFlags as TargetFlags,
    load_images as load_images,
)
from .flags.memory import MemoryFlags as MemoryFlags
from .flags.ranges import (
    Decay as Decay,
    Degrees as Degrees,
    Fraction as Fraction,
    NonNegative as NonNegative,
    NonNegativeInt as NonNegativeInt,
    OpenFraction as OpenFraction,
    Positive as Positive,
    PositiveInt as PositiveInt,
    Range as Range,
    Rate as Rate,
    check_ranges as check_ranges,
)
from .flags.rules import (
    Exclusions as Exclusions,
    changed as changed,
    check_exclusions as check_exclusions,
    only_for as only_for,
)
from .flags.series import (
    MEMORY_TASKS as MEMORY_TASKS,
    SeriesAugmentationFlags as SeriesAugmentationFlags,
    SeriesFlags as SeriesFlags,
    load_series as load_series,
)
from .flags.series_networks import (
    RECURRENT as RECURRENT,
    SeriesNetworkFlags as SeriesNetworkFlags,
)
from .flags.targets import PictureTargetFlags as PictureTargetFlags
from .jit import choose_jit as choose_jit, compiled_by_xla as compiled_by_xla
from .optim.muon import Muon as Muon
from .optim.optimizers import (
    optimizer as optimizer,
    usual_learning_rate as usual_learning_rate,
    usual_weight_decay as usual_weight_decay,
)
from .optim.parameter_groups import (
    decaying_factors as decaying_factors,
    rate_factors as rate_factors,
)
from .optim.range_test import range_test as range_test
from .optim.schedules import (
    OneCycle as OneCycle,
    learning_rate_schedule as learning_rate_schedule,
    momentum_cycle as momentum_cycle,
)
from .picture_tasks import (
    PictureTask as PictureTask,
    picture_task as picture_task,
)
from .precision import (
    choose_precision as choose_precision,
    precision_policy as precision_policy,
)
from .run_directory.environment import machine as machine, versions as versions
from .run_directory.run import (
    Run as Run,
    in_use as in_use,
    open_run as open_run,
    read_json as read_json,
    run_inside as run_inside,
    trained_in as trained_in,
    write_rows as write_rows,
)
from .seeds import seed_everything as seed_everything
from .series_choice import settle_series as settle_series, settled as settled
from .setup import (
    begin as begin,
    callbacks as callbacks,
    clean_examples as clean_examples,
    optimizer_from as optimizer_from,
    own_augmentation as own_augmentation,
    scope as scope,
)
from .watching.gradients import GradientFlow as GradientFlow, gradient_flow as gradient_flow
from .watching.profiling import (
    Profile as Profile,
    StepProfile as StepProfile,
    step_profile as step_profile,
)
from .watching.progress import EpochLines as EpochLines
from .watching.tracking import check_tracker as check_tracker, track as track
