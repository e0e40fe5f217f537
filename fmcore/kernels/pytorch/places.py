"""Devices by name: whether they are there, what they are called, and the memory that they have free."""

from fmcore.errors import ResourceError, UsageError
from fmcore.kernels.pytorch.library import INSTALL, torch
from fmcore.system.memory import free as free_of_host


def found(name):
    """The torch.device of "torch:cpu", "cuda" or "cuda:N"; UsageError where there is none."""
    if name == "torch:cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = "finds no GPU, or no driver for one" if torch.version.cuda else "is built without CUDA"
        raise UsageError(
            f"there is no device {name}: PyTorch {torch.__version__} {built}; with a GPU, install PyTorch "
            f"for it: {INSTALL}, or take --device cpu"
        )
    there, device = torch.cuda.device_count(), torch.device(name)
    number = device.index or 0
    if number >= there:
        raise UsageError(
            f"there is no device {name}: PyTorch finds {there} GPU{'s' * (there > 1)}, cuda:0"
            f"{f' to cuda:{there - 1}' if there > 1 else ''}"
        )
    return torch.device("cuda", number)


def title(device):
    """What people call it."""
    if device.type == "cpu":
        return f"torch:cpu ({torch.__version__})"
    return f"{device} ({torch.cuda.get_device_name(device)})"


def free(device):
    """Bytes that may still be taken of a device's memory, those included that PyTorch keeps for later."""
    if device.type == "cpu":
        return free_of_host()
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def require(device, needed, what, advice):
    """Raise ResourceError where a device has fewer bytes free than are needed for something."""
    there = free(device)
    if needed > there:
        raise ResourceError(
            f"{what} takes about {needed:,} bytes of the memory of {device}, more than the {there:,} "
            f"that are free; {advice}"
        )
