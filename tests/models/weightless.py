"""Networks without the memory for their weights: vgg19 has 143 million."""

import keras


def without_weights(build, *args, **kwargs) -> keras.Model:
    """The model with the shapes of its weights and nothing in them."""
    with keras.StatelessScope(initialize_variables=False):
        model = build(*args, **kwargs)
    keras.utils.clear_session(free_memory=False)  # forgets that they were to be initialized later
    return model
