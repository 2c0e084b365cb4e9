"""What a trained model is worth, in numbers, in words and in pictures.

predict_logits            every example of a split once -> logits [n, classes]
classification_metrics    accuracy with its interval, loss, per class, confusion, top-5
top_losses, worst_mistakes
                          the examples the model is most wrong about; wrong answers only
wilson_interval           the interval of a proportion
softmax                   logits -> probabilities, with a temperature
expected_calibration_error, reliability_bins, fit_temperature
                          is 90 % confidence right 90 % of the time, and the one number that
                          mends it
overfitting_verdict       learning curves -> a `Verdict` in words, with its numbers
posterior_verdict, gan_verdict, autoencoder_verdict, codebook_verdict
                          did a generative model collapse? -> a `Judgement` in words
caveats_of, enough_data, class_caveats, near_duplicate_findings
                          what keeps the figures from meaning what they seem to
baseline_accuracy         what always answering the most frequent class would reach
lerp, slerp, traversal, normal_grid
                          paths and grids in a latent space, for a decoder
nearest_neighbours        the training pictures most like a sample, by pixel
feature_extractor, wanted_extractor, Features, random_features, to_uint8
                          frozen networks whose features stand for pictures
sample_quality, quality_table, SampleQuality, watch_samples, check_enough
                          samples against real pictures, each figure beside its floor; the same
                          after every epoch
frechet_distance, kernel_distance, precision_recall, density_coverage
                          distances between sets of features
classifier_score, class_balance_kl
                          what a classifier makes of samples
nearest_neighbour_test
                          can samples be told from real pictures?
importance_nll, Likelihood, bits_per_dimension
                          negative log-likelihood of a VAE by importance sampling
binarization_entropy, floor_note
                          what no model of binarized pictures can be below
active_units, kl_per_dimension, mutual_information
                          does a VAE use its latent variables?
train_on_synthetic        are samples of a conditional model good enough to learn from?
reconstruction_mse, pca_mse, psnr
                          reconstructions beside the best linear ones
explain_classifier        all of this for one model: an `Explanation` for its report
explain_pictures          the same, or what there is to say where pictures have several labels, or
                          a number
explain_autoencoder, explain_vae, explain_gan, explain_vq_vae
                          the same for generative models
explain_table             the same for a model of a table, beside scikit-learn's
regression_metrics, regression_verdict
                          errors of a regression with intervals; its learning curves in words
column_importance, predict_table, fit_baselines
                          what a model of a table rests on; its answers; others to compare with
explain_documents, text_logits
                          the same for a classifier of texts
beside_peers, beside_picture_peers, beside_series_peers, Peer, picture_peers, series_peers,
document_peers
                          what simple models say of the same test examples, by pairs
explain_sequences, memory_verdict
                          the same for series; was a memory task solved?
cross_validated, fold_mean
                          a run for each fold; mean and interval over them
grad_cam, overlay         where a convolutional network looked; heat_maps in a graph
separation, highest_learning_rate, best_linear_accuracy
                          can a plane separate classes, with which margin; the largest step
explain_gradient_flow, gradient_story
                          do gradients vanish or explode?
linear_verdict, mlp_verdict
                          what became of a network of one layer, of many small ones
SampleGrids, samples_of     images drawn after every epoch, samples of fixed noise for one, in files
explain_perceptron, perceptron_frames, features_of
                          a network of one layer: its film, its figures, what its layer sees
explain_stacked, stacked_frames, stacked_kind, stacked_targets, stacked_losses, measure_stacked,
stacked_cell, watch_stacked
                          the same for many small networks that are trained at once
explain_comparison, contestant, Contestant, best_contestant, comparison_rows, epoch_rows,
winner_history, comparison_figures, comparison_table, optimizer_findings, judge_standings, standing
                          what a comparison of optimizers shows, settled by pairs of seeds
SURFACES, PAPER, descend, surface_walks, surface_figures, surface_table, surface_findings
                          paths of optimizers on functions of two variables
explain_text, language_verdict, text_baselines, harder_by
                          a character model beside counts and xz
explain_search            what a search for hyperparameters has found
begin, close, close_search
                          the model that is evaluated; what ends every recipe: figures, report
summary, file_name        the last lines on the terminal; a title as a file name
write_report              one self-contained HTML page
find_runs, read_history, runs_table, compare
                          what `kapps runs` and `kapps compare` show
plots                     module of functions that return a matplotlib Figure
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
