"""Where data come from: arrays, packaged sets, TensorFlow Datasets."""
