"""What a row means: the columns of tables, their values, and the ids of index formats."""
