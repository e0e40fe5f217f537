"""The entry points `train` and `serve` that Amazon SageMaker calls in a container, over the tree /opt/ml."""
