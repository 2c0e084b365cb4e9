"""What a model of a table is worth, beside scikit-learn's."""
