"""Devices by name: whether they exist, what they are called, and how much of their memory is free."""

from fmcore.errors import ResourceError, UsageError
from fmcore.kernels.pytorch.library import INSTALL, torch
from fmcore.system.memory import free as free_of_host


def found(name):
    """Return the torch.device of "torch:cpu", "cuda" or "cuda:N"; raise UsageError where there is none."""
    if name == "torch:cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = "finds no GPU, or no driver for one" if torch.version.cuda else "is built without CUDA"
        raise UsageError(
            f"there is no device {name}: PyTorch {torch.__version__} {built}; with a GPU, install PyTorch "
            f"for it: {INSTALL}, or use --device cpu"
        )
    count, device = torch.cuda.device_count(), torch.device(name)
    number = device.index or 0
    if number >= count:
        raise UsageError(
            f"there is no device {name}: PyTorch finds {count} GPU{'s' * (count > 1)}, cuda:0"
            f"{f' to cuda:{count - 1}' if count > 1 else ''}"
        )
    return torch.device("cuda", number)


def title(device):
    """Return a device's name for people."""
    if device.type == "cpu":
        return f"torch:cpu ({torch.__version__})"
    return f"{device} ({torch.cuda.get_device_name(device)})"


def free(device):
    """Return how many bytes of a device's memory may still be taken, including those that PyTorch keeps for later."""
    if device.type == "cpu":
        return free_of_host()
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def require(device, needed, what, advice):
    """Raise ResourceError where a device has fewer bytes free than are needed for something."""
    available = free(device)
    if needed > available:
        raise ResourceError(
            f"{what} takes about {needed:,} bytes of the memory of {device}, more than the {available:,} "
            f"that are free; {advice}"
        )
