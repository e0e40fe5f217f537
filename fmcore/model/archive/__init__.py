"""Models that Amazon SageMaker's factorization machines left: an archive's bytes to a `Model`, without MXNet."""
