from .classic.approximation import (
    curve_frame as curve_frame,
    error_by_width as error_by_width,
    function_fit as function_fit,
    success_rates as success_rates,
)
from .classic.comparison import (
    Panel as Panel,
    seed_curves as seed_curves,
)
from .classic.paths import surface_paths as surface_paths
from .classic.planes import (
    decision_frame as decision_frame,
    decision_regions as decision_regions,
    updates_and_bound as updates_and_bound,
    weight_pictures as weight_pictures,
)
from .curves import (
    compare_runs as compare_runs,
    learning_curves as learning_curves,
)
from .figure import (
    png_bytes as png_bytes,
    save_png as save_png,
)
from .generative.animation import (
    animation_bytes as animation_bytes,
    save_animation as save_animation,
    tile as tile,
)
from .generative.grids import (
    epoch_grid as epoch_grid,
    interpolation_grid as interpolation_grid,
    manifold_grid as manifold_grid,
    neighbour_grid as neighbour_grid,
    reconstruction_grid as reconstruction_grid,
    sample_grid as sample_grid,
    traversal_grid as traversal_grid,
)
from .generative.latent import (
    bound_by_samples as bound_by_samples,
    code_frequencies as code_frequencies,
    kl_bars as kl_bars,
    latent_scatter as latent_scatter,
)
from .gradients import gradient_flow as gradient_flow
from .grids import (
    class_samples as class_samples,
    image_grid as image_grid,
    picture_rows as picture_rows,
)
from .images.classes import (
    confusion_matrix as confusion_matrix,
    reliability_diagram as reliability_diagram,
)
from .images.grids import grad_cam_grid as grad_cam_grid, top_losses_grid as top_losses_grid
from .panels import training_curves as training_curves
from .profile import step_profile as step_profile
from .rates import range_test as range_test
from .searches import (
    hyperparameter_importance as hyperparameter_importance,
    parallel_coordinates as parallel_coordinates,
    pareto_front as pareto_front,
    search_curves as search_curves,
    search_progress as search_progress,
    search_slices as search_slices,
)
from .series.grid import series_grid as series_grid
from .tables.importance import column_importance as column_importance
from .tables.regression import (
    predicted_against_true as predicted_against_true,
    residuals as residuals,
)
from .tables.thresholds import threshold_curves as threshold_curves
from .text.bits import (
    bits_curves as bits_curves,
    coloured_text as coloured_text,
    text_samples as text_samples,
)
