from . import plots as plots
from .classic.explain_perceptron import (
    explain_perceptron as explain_perceptron,
    features_of as features_of,
    perceptron_frames as perceptron_frames,
)
from .classic.explain_stacked import (
    explain_stacked as explain_stacked,
    measure_stacked as measure_stacked,
    stacked_cell as stacked_cell,
    stacked_frames as stacked_frames,
    stacked_kind as stacked_kind,
    stacked_losses as stacked_losses,
    stacked_targets as stacked_targets,
    watch_stacked as watch_stacked,
)
from .classic.optimizers import (
    Contestant as Contestant,
    best_contestant as best_contestant,
    comparison_figures as comparison_figures,
    comparison_rows as comparison_rows,
    comparison_table as comparison_table,
    contestant as contestant,
    epoch_rows as epoch_rows,
    explain_comparison as explain_comparison,
    optimizer_findings as optimizer_findings,
    surface_figures as surface_figures,
    surface_findings as surface_findings,
    surface_table as surface_table,
    winner_history as winner_history,
)
from .classic.separation import (
    Separation as Separation,
    best_linear_accuracy as best_linear_accuracy,
    highest_learning_rate as highest_learning_rate,
    separation as separation,
)
from .classic.standings import (
    judge_standings as judge_standings,
    standing as standing,
)
from .classic.surfaces import (
    PAPER as PAPER,
    SURFACES as SURFACES,
    descend as descend,
    surface_walks as surface_walks,
)
from .classic.verdicts import (
    linear_verdict as linear_verdict,
    mlp_verdict as mlp_verdict,
)
from .closing import (
    begin as begin,
    close as close,
    close_search as close_search,
    commands_after as commands_after,
    repeat as repeat,
)
from .explanation import Explanation as Explanation, accuracy_headline as accuracy_headline
from .folds import FoldMean as FoldMean, cross_validated as cross_validated, fold_mean as fold_mean
from .generative.explain_autoencoder import explain_autoencoder as explain_autoencoder
from .generative.explain_gan import explain_gan as explain_gan
from .generative.explain_vae import classes_in_turn as classes_in_turn, explain_vae as explain_vae
from .generative.explain_vq_vae import explain_vq_vae as explain_vq_vae
from .generative.latent_paths import (
    lerp as lerp,
    normal_grid as normal_grid,
    slerp as slerp,
    traversal as traversal,
)
from .generative.likelihood import (
    Likelihood as Likelihood,
    binarization_entropy as binarization_entropy,
    bits_per_dimension as bits_per_dimension,
    floor_note as floor_note,
    importance_nll as importance_nll,
)
from .generative.posterior import (
    active_units as active_units,
    kl_per_dimension as kl_per_dimension,
    mutual_information as mutual_information,
)
from .generative.reconstruction import (
    pca_mse as pca_mse,
    psnr as psnr,
    reconstruction_mse as reconstruction_mse,
)
from .generative.samples.class_scores import (
    class_balance_kl as class_balance_kl,
    classifier_score as classifier_score,
)
from .generative.samples.distances import (
    frechet_distance as frechet_distance,
    kernel_distance as kernel_distance,
)
from .generative.samples.features import (
    PACKAGED as PACKAGED,
    Features as Features,
    feature_extractor as feature_extractor,
    random_features as random_features,
    to_uint8 as to_uint8,
    wanted_extractor as wanted_extractor,
)
from .generative.samples.manifolds import (
    density_coverage as density_coverage,
    precision_recall as precision_recall,
)
from .generative.samples.neighbours import nearest_neighbours as nearest_neighbours
from .generative.samples.quality import (
    SampleQuality as SampleQuality,
    check_enough as check_enough,
    quality_table as quality_table,
    sample_quality as sample_quality,
    watch_samples as watch_samples,
)
from .generative.samples.synthetic import train_on_synthetic as train_on_synthetic
from .generative.samples.two_sample import nearest_neighbour_test as nearest_neighbour_test
from .images.explain import (
    explain_classifier as explain_classifier,
    explain_pictures as explain_pictures,
    without_validation as without_validation,
)
from .images.gradcam import (
    grad_cam as grad_cam,
    heat_maps as heat_maps,
    overlay as overlay,
)
from .images.other_peers import beside_picture_peers as beside_picture_peers
from .images.peers import picture_peers as picture_peers
from .images.phases import explain_transfer as explain_transfer
from .metrics.calibration import (
    Calibration as Calibration,
    calibration as calibration,
    expected_calibration_error as expected_calibration_error,
    fit_temperature as fit_temperature,
    reliability_bins as reliability_bins,
    softmax as softmax,
)
from .metrics.classification import (
    baseline_accuracy as baseline_accuracy,
    classification_metrics as classification_metrics,
    predict_logits as predict_logits,
    top_losses as top_losses,
    wilson_interval as wilson_interval,
    worst_mistakes as worst_mistakes,
)
from .metrics.comparison import (
    PairedDifference as PairedDifference,
    mcnemar as mcnemar,
    paired_bootstrap as paired_bootstrap,
)
from .metrics.history import read_history as read_history
from .metrics.regression import regression_metrics as regression_metrics
from .peers import Peer as Peer, beside_peers as beside_peers
from .report.gradients import (
    explain_gradient_flow as explain_gradient_flow,
    gradient_story as gradient_story,
)
from .report.page import write_report as write_report
from .report.runs import (
    compare as compare,
    find_runs as find_runs,
    runs_table as runs_table,
)
from .report.search import (
    SearchExplanation as SearchExplanation,
    explain_search as explain_search,
)
from .report.terminal import (
    file_name as file_name,
    summary as summary,
)
from .sample_grids import SampleGrids as SampleGrids, samples_of as samples_of
from .series.explain import explain_sequences as explain_sequences
from .series.peers import (
    beside_series_peers as beside_series_peers,
    series_peers as series_peers,
)
from .tables.baselines import baselines_line as baselines_line, fit_baselines as fit_baselines
from .tables.explain import (
    Importance as Importance,
    column_importance as column_importance,
    explain_table as explain_table,
    predict_table as predict_table,
)
from .text.documents import (
    document_peers as document_peers,
    explain_documents as explain_documents,
    text_logits as text_logits,
)
from .text.explain import (
    bits_interval as bits_interval,
    character_bits as character_bits,
    explain_text as explain_text,
    harder_by as harder_by,
    text_baselines as text_baselines,
)
from .text.ngram import (
    NGram as NGram,
    xz_bits_per_character as xz_bits_per_character,
)
from .verdicts.caveats import (
    caveats_of as caveats_of,
    class_caveats as class_caveats,
    enough_data as enough_data,
    near_duplicate_findings as near_duplicate_findings,
)
from .verdicts.collapse import (
    Judgement as Judgement,
    autoencoder_verdict as autoencoder_verdict,
    codebook_verdict as codebook_verdict,
    posterior_verdict as posterior_verdict,
)
from .verdicts.curves import Verdict as Verdict
from .verdicts.language import language_verdict as language_verdict
from .verdicts.memory import memory_verdict as memory_verdict
from .verdicts.overfitting import overfitting_verdict as overfitting_verdict
from .verdicts.reconstruction import reconstruction_fit as reconstruction_fit
from .verdicts.regression import regression_verdict as regression_verdict
from .verdicts.samples import gan_verdict as gan_verdict
