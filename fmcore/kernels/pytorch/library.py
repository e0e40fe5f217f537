"""PyTorch: the one file that imports it; imported itself only where a device needs it."""

from contextlib import contextmanager

from fmcore.errors import ResourceError, UsageError

INSTALL = "pip install 'fmkit[gpu]'"

try:
    import torch
except ModuleNotFoundError as error:
    raise UsageError(f"PyTorch is not installed; this device needs it: {INSTALL}, or use --device cpu") from error
except (ImportError, OSError) as error:
    raise UsageError(
        f"PyTorch cannot be loaded ({error}); this device needs it, reinstall it: {INSTALL}, or use --device cpu"
    ) from error


@contextmanager
def full_precision():
    """Sum products of float32 matrices in float32: TF32 keeps 10 bits, too few to equal other backends."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def out_of_memory(device):
    """Raise ResourceError in place of PyTorch's own error where the memory of a device is exhausted."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"the memory of {device} is exhausted: {str(error).splitlines()[0]}; use fewer factors "
            "(--num-factors), a smaller --mini-batch-size, or --device cpu"
        ) from error
