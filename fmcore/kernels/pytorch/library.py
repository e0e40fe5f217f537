"""PyTorch: the one file that imports it, and is itself imported only where a device asks for it."""

from contextlib import contextmanager

from fmcore.errors import ResourceError, UsageError

INSTALL = "pip install 'fmkit[gpu]'"

try:
    import torch
except ModuleNotFoundError as error:
    raise UsageError(f"PyTorch is not installed; this device takes it: {INSTALL}, or take --device cpu") from error
except (ImportError, OSError) as error:
    raise UsageError(
        f"PyTorch cannot be loaded ({error}); this device takes it, install it anew: {INSTALL}, or take --device cpu"
    ) from error


@contextmanager
def full_precision():
    """Have products of float32 matrices summed in float32: TF32 keeps 10 bits, too few to equal other backends."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def out_of_memory(device):
    """Let a device whose memory is exhausted say so as the library does."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"the memory of {device} is exhausted: {str(error).splitlines()[0]}; take fewer factors "
            "(--num-factors), a smaller --mini-batch-size, or --device cpu"
        ) from error
