"""Hyperparameter search that finishes, resumes and explains itself, on KerasTuner.

run_search, Budget      tries points of a space until its budget is used up; resumes exactly
Trial, copy_checkpoints what the code that trains a point is given; what a promotion goes on with
SearchError             raised there, ends the search
oracle                  what says which point comes next: random, grid, Bayesian, Hyperband, TPE
spaces                  module: functions hp -> keyword arguments of the builders, always valid
read_space, declare     a space in a small TOML or JSON file (reading is quick: no TensorFlow)
Tuner, RandomSearch, GridSearch, BayesianOptimization, Hyperband
                        those of `keras_tuner` for a user's own HyperModel
HyperModelTrials        what it stands on
Reporter, LastEpoch     Keras callbacks: tells a trial of its epochs; makes the last one the best
hyperparameters         a point as KerasTuner's HyperParameters
Results, Record         what was found
read_results, write_table
                        the same from a directory; search.csv (no TensorFlow)
write_hparams           the same for TensorBoard
print_trial             a line on the terminal for every trial
recipe_module, copy_run, check_data
                        trials that are runs of a recipe
remote_role, serve_chief
                        several machines: chief or worker; what a worker does (no TensorFlow)
SearchFlags, RefitFlags, check_search, check_hyperband, epochs_of_trial, search_is_done,
search_with_flags, serve_instead, stop_rule, search_metrics, winner_notes
                        what the recipes that search have in common
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
