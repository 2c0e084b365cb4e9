"""Images: folders, arrays, TensorFlow Datasets, decoding, augmentation."""
