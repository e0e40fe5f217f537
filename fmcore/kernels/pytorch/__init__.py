"""Training of dense rows on PyTorch's devices: a GPU, several of them, or the processor to compare."""
