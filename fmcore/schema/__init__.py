"""What the rows of a model mean: columns, values, ids."""
