"""Dense rows on a device of PyTorch's: a GPU, several of them, or the processor to compare."""
