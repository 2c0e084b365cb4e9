"""Series: files, memory tasks, augmentation."""
