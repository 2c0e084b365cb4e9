"""Pictures of training, results and data, each a `matplotlib.figure.Figure`.

They need no display, leave pyplot's global state alone, and are drawn for the width of a phone, in
colours that the colour-blind can tell apart (Okabe and Ito 2008). Functions:
    range_test             loss by learning rate
    learning_curves        loss, accuracy and learning rate by epoch
    compare_runs           the validation curves of several runs over one another
    confusion_matrix       which class is mistaken for which
    reliability_diagram    confidence against accuracy, before and after the temperature
    image_grid             pictures with captions
    class_samples          some pictures of every class
    top_losses_grid        the worst mistakes, with what was said and what is true
    grad_cam_grid          pictures beside their heat maps
    training_curves        whatever metrics.csv holds, a small panel per quantity
    sample_grid            samples of a generative model
    epoch_grid             samples of the same noise, epoch by epoch
    save_animation, animation_bytes
                           the same as a moving picture
    reconstruction_grid    originals, reconstructions, and where they differ
    traversal_grid         what each latent dimension does
    interpolation_grid     ways from one picture to another
    manifold_grid          all of a latent space of two dimensions
    neighbour_grid         samples beside the training pictures nearest to them
    latent_scatter         where pictures lie in the latent space, by class
    kl_bars                KL of each latent dimension, and which are active
    code_frequencies       how often each code of a codebook occurs
    bound_by_samples       importance-sampled NLL by its number of samples
    decision_regions, decision_frame
                           where a classifier of points in the plane draws its lines
    weight_pictures        what a linear classifier of pictures looks at
    function_fit, error_by_width, success_rates, curve_frame
                           what networks of some width make of a function, or of XOR
    updates_and_bound      updates of a perceptron beside Novikoff's bound
    gradient_flow          the norm of the gradient in each layer
    picture_rows           rows of pictures with names at the left and above
    series_grid            series as small curves with captions
    tile                   pictures side by side as one array
    predicted_against_true, residuals
                           a regression, and what it leaves over
    threshold_curves       ROC and precision-recall of two classes
    column_importance      what a model of a table rests on
    seed_curves, Panel     curves of many trainings, each the mean of its seeds
    surface_paths          paths of optimizers on a function of two variables
    bits_curves, coloured_text, text_samples
                           a character model: bits by epoch, where they go, what it wrote
    search_progress, search_curves, parallel_coordinates, search_slices, pareto_front,
    hyperparameter_importance
                           a search for hyperparameters
    png_bytes, save_png    a Figure as PNG
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
