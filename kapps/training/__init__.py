"""What stands around `fit`.

fit, History                      training that a killed process can go on with, bit for bit
fit_phase, join_histories, Phase, phase_rates
                                  a training in phases, each with a `fit` of its own
fit_with_more, more_stages, later  a finished run is trained longer
picture_task, PictureTask         a class, several labels or a number: loss, metrics, kept epoch
settle_series, settled            which network of series, and how long it is trained
begin_with                        the weights of another run's model
begin_with_regression, CountsAsItBegan, logistic_weights, label_weights, number_weights
                                  a head that begins as a cross-validated regression
best_epoch, kept_by, CalibratedLoss which epoch's weights are kept
cached_features, features_by_split, cached_batches, FeatureBatches, feature_directory, gatherer
                                  what a frozen backbone makes of pictures, computed once
open_run, Run, read_json          the run directory
write_rows                        metrics.csv
versions, machine                 what figures depend on
learning_rate_schedule, OneCycle, momentum_cycle
                                  learning rate and momentum by step
optimizer, usual_learning_rate, usual_weight_decay
                                  Keras' optimizers by name, decay sparing biases and norms
rate_factors, decaying_factors     learning rates that differ from group to group of the weights
range_test                        the learning-rate range test
strategy, cluster, check_devices, named_devices, check_batch, scaled_learning_rate
                                  where to train
choose_precision, precision_policy
                                  which number format to train in
choose_jit, compiled_by_xla       whether XLA compiles the steps
seed_everything                   one seed for everything
CommonFlags, ImageFlags, AugmentationFlags, OptimizationFlags, AveragingFlags, ClassifierFlags,
TargetFlags, PictureTargetFlags, ContinuationFlags, FoldFlags, PeerFlags, FastFlags,
FineTuningFlags, PROBE, FINE_TUNING
                                  flags that recipes share, for a Config to inherit
SeriesFlags, SeriesAugmentationFlags, SeriesNetworkFlags, RECURRENT, MEMORY_TASKS
                                  the same for recipes of series
MemoryFlags                       the same for tables and series, which are held in memory
load_images, load_series          the data that these flags ask for
Fraction, Positive, PositiveInt ...
                                  types of flags with a range; Range makes others
check, check_ranges, changed, command
                                  what is wrong with flags before TensorFlow is imported
only_for, check_exclusions        flags that do not go together
begin, scope, optimizer_from, callbacks, own_augmentation
                                  from flags to devices, precision, optimizer and callbacks
image_batches, classifier_batches, training_targets, series_batches, clean_examples
                                  what `fit` is given: to train on, and to measure
patch_for_replicas, order_for_replicas
                                  makes N devices give what one gives
greedy_pretrain                   a dense autoencoder, layer by layer
GradientFlow, gradient_flow       the norm of the gradient in each layer; what --gradient-flow adds
StepProfile, Profile, step_profile
                                  where the time of a step goes; what --profile adds
Cells, Candidate                  many small trainings that differ in their optimizer alone
try_rates, TriedRates, best_rate, lowest_losses, kept_cell, share_measurements
                                  the rate of each of them; results kept in files
track, check_tracker              what --track tells MLflow
EpochLines                        the line of an epoch on the terminal
WeightAverage                     moving average of weights and statistics
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
