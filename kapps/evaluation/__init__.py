"""What a trained model is worth, in numbers, in words and in pictures.

predict_logits            every example of a split once -> logits [n, classes]
classification_metrics    accuracy with its interval, loss, per class, confusion, top-5
top_losses                the examples the model is most wrong about
wilson_interval           the interval of a proportion
softmax                   logits -> probabilities, with a temperature
expected_calibration_error, reliability_bins, fit_temperature
                          is 90 % confidence right 90 % of the time, and the one number that
                          mends it
overfitting_verdict       learning curves -> a `Verdict` in words, with its numbers
posterior_verdict, gan_verdict, autoencoder_verdict, codebook_verdict
                          did a generative model collapse? -> a `Judgement` in words
caveats_of, enough_data, class_caveats, twin_findings
                          what keeps the figures from meaning what they seem to
baseline_accuracy         what always answering the most frequent class would reach
lerp, slerp, traversal, normal_grid
                          paths and grids in a latent space, for a decoder
nearest_neighbours        the training pictures most like a sample, by pixel
feature_extractor, wanted_extractor, Features, random_features, to_uint8
                          frozen networks whose features stand for pictures
sample_quality, quality_table, SampleQuality
                          samples against real pictures, each figure beside its floor; the same
                          after every epoch
frechet_distance, kernel_distance, precision_recall, density_coverage
                          distances between sets of features
classifier_score, class_balance_kl
                          what a classifier makes of samples
nearest_neighbour_test, classifier_two_sample_test
                          can samples be told from real pictures?
importance_nll, Likelihood, bits_per_dimension
                          negative log-likelihood of a VAE by importance sampling
binarization_entropy, floor_note
                          what no model of binarised pictures can be below
active_units, kl_per_dimension, mutual_information
                          does a VAE use its latent variables?
train_on_synthetic        are samples of a conditional model good enough to learn from?
reconstruction_mse, pca_mse
                          reconstructions beside the best linear ones
explain_classifier        all of this for one model: an `Explanation` for its report
explain_vae, explain_gan, explain_vq_vae
                          the same for generative models
explain_table             the same for a model of a table, beside scikit-learn's
regression_metrics, regression_verdict
                          errors of a regression with intervals; its learning curves in words
column_importance, predict_table, fit_baselines
                          what a model of a table rests on; its answers; others to compare with
explain_sequences, memory_verdict
                          the same for series; was a memory task solved?
grad_cam, overlay         where a convolutional network looked
separation, highest_learning_rate, best_linear_accuracy
                          can a plane separate classes, with which margin; the largest step
explain_gradient_flow, gradient_story
                          do gradients vanish or explode?
linear_verdict, mlp_verdict
                          what became of a network of one layer, of many small ones
SampleGrids               samples of fixed noise after every epoch, kept in files
Contestant, comparison_figures, comparison_table, optimizer_findings, judge_standings, standing
                          what a comparison of optimizers shows, settled by pairs of seeds
SURFACES, descend, surface_figures, surface_table, surface_findings
                          paths of optimizers on functions of two variables
explain_text, language_verdict, text_baselines, harder_by
                          a character model beside counts and xz
explain_search            what a search for hyperparameters has found
summary, file_name        the last lines on the terminal; a title as a file name
write_report              one self-contained HTML page
find_runs, read_history, runs_table, compare
                          what `kapps runs` and `kapps compare` show
plots                     module of functions that return a matplotlib Figure
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["plots"],
    submod_attrs={
        "calibration": [
            "expected_calibration_error",
            "fit_temperature",
            "reliability_bins",
            "softmax",
        ],
        "caveats": ["caveats_of", "class_caveats", "enough_data", "twin_findings"],
        "class_scores": ["class_balance_kl", "classifier_score"],
        "classification": [
            "baseline_accuracy",
            "classification_metrics",
            "predict_logits",
            "top_losses",
            "wilson_interval",
        ],
        "distances": ["frechet_distance", "kernel_distance"],
        "collapse": [
            "Judgement",
            "autoencoder_verdict",
            "codebook_verdict",
            "gan_verdict",
            "posterior_verdict",
        ],
        "explain": ["Explanation", "explain_classifier"],
        "features": [
            "PACKAGED",
            "Features",
            "feature_extractor",
            "random_features",
            "to_uint8",
            "wanted_extractor",
        ],
        "gan_report": ["explain_gan"],
        "separations": [
            "Separation",
            "best_linear_accuracy",
            "highest_learning_rate",
            "separation",
        ],
        "gradcam": ["grad_cam", "overlay"],
        "gradient_report": ["explain_gradient_flow", "gradient_story"],
        "likelihood": [
            "Likelihood",
            "binarization_entropy",
            "bits_per_dimension",
            "floor_note",
            "importance_nll",
        ],
        "manifolds": ["density_coverage", "precision_recall"],
        "optimizer_report": [
            "Contestant",
            "comparison_figures",
            "comparison_table",
            "optimizer_findings",
            "surface_figures",
            "surface_findings",
            "surface_table",
        ],
        "posterior": ["active_units", "kl_per_dimension", "mutual_information"],
        "quality": ["SampleQuality", "quality_table", "sample_quality"],
        "reconstruction": ["pca_mse", "reconstruction_mse"],
        "report": ["write_report"],
        "history": ["read_history"],
        "runs": ["compare", "find_runs", "runs_table"],
        "linear_report": ["linear_verdict", "mlp_verdict"],
        "latent": ["lerp", "normal_grid", "slerp", "traversal"],
        "neighbours": ["nearest_neighbours"],
        "standings": ["judge_standings", "standing"],
        "surfaces": ["SURFACES", "descend"],
        "synthetic": ["train_on_synthetic"],
        "sample_grids": ["SampleGrids"],
        "search_report": ["SearchExplanation", "explain_search"],
        "sequence_report": ["explain_sequences", "memory_verdict"],
        "terminal": ["file_name", "summary"],
        "two_sample": ["classifier_two_sample_test", "nearest_neighbour_test"],
        "regression": ["regression_metrics", "regression_verdict"],
        "tabular_baselines": ["fit_baselines"],
        "tabular_report": ["column_importance", "explain_table", "predict_table"],
        "vae_report": ["explain_vae"],
        "vq_vae_report": ["explain_vq_vae"],
        "verdict": ["Verdict", "overfitting_verdict"],
        "ngrams": ["NGram", "xz_bits_per_character"],
        "text_report": [
            "character_bits",
            "explain_text",
            "harder_by",
            "language_verdict",
            "text_baselines",
        ],
    },
)
