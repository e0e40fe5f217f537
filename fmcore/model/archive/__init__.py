"""Convert models of Amazon SageMaker's factorization machines: an archive's bytes to a `Model`, without MXNet."""
