from . import plots as plots
from .classic.optimizers import (
    Contestant as Contestant,
    comparison_figures as comparison_figures,
    comparison_table as comparison_table,
    optimizer_findings as optimizer_findings,
    surface_figures as surface_figures,
    surface_findings as surface_findings,
    surface_table as surface_table,
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
    SURFACES as SURFACES,
    descend as descend,
)
from .classic.verdicts import (
    linear_verdict as linear_verdict,
    mlp_verdict as mlp_verdict,
)
from .generative.explain_gan import explain_gan as explain_gan
from .generative.explain_vae import explain_vae as explain_vae
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
    reconstruction_mse as reconstruction_mse,
)
from .generative.sample_grids import SampleGrids as SampleGrids
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
    quality_table as quality_table,
    sample_quality as sample_quality,
)
from .generative.samples.synthetic import train_on_synthetic as train_on_synthetic
from .generative.samples.two_sample import nearest_neighbour_test as nearest_neighbour_test
from .images.explain import (
    Explanation as Explanation,
    explain_classifier as explain_classifier,
)
from .images.gradcam import (
    grad_cam as grad_cam,
    overlay as overlay,
)
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
)
from .metrics.comparison import (
    PairedDifference as PairedDifference,
    mcnemar as mcnemar,
    paired_bootstrap as paired_bootstrap,
)
from .metrics.history import read_history as read_history
from .metrics.regression import regression_metrics as regression_metrics
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
from .series.explain import explain_sequences as explain_sequences
from .tables.baselines import fit_baselines as fit_baselines
from .tables.explain import (
    Importance as Importance,
    column_importance as column_importance,
    explain_table as explain_table,
    predict_table as predict_table,
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
