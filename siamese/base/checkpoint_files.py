"""Weights as files hold them: by one name each, compared with what a network wants; those of others read safely."""

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from data.pairs.errors import UserError
from data.pairs.files import sha256_file

UNET = "model.diffusion_model."  # how Stable Diffusion's original code names the UNet
_UNREADABLE = (
    *(SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, OSError, EOFError, RuntimeError),
    *(AssertionError, AttributeError, LookupError, TypeError, ValueError),
)


class _Inert(dict):
    """Stands in for every class and function that a pickle names and tensors do not need; does nothing."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        super().__init__()

    def _ignore(self, *_args: object, **_kwargs: object) -> "_Inert":
        return self

    __call__ = __setstate__ = append = extend = add = _ignore


class _SafePickle:
    """What torch.load wants of a pickle module; it can make tensors and nothing else."""

    class Unpickler(pickle.Unpickler):
        allowed = (OrderedDict, torch._utils._rebuild_tensor_v2, torch._utils._rebuild_parameter)

        def find_class(self, module_name: str, global_name: str, /) -> Any:
            named = {(known.__module__, known.__name__): known for known in self.allowed}
            return named.get((module_name, global_name), _Inert)


def _read_pickle(path: Path) -> object:
    with zipfile.ZipFile(path) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise ValueError("a TorchScript archive, which holds code")
    return torch.load(path, "cpu", _SafePickle, weights_only=False, mmap=True)


def read_checkpoint(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file or of a file that torch.save wrote, by name, in their stored types.

    Of a Lightning checkpoint the tensors of its "state_dict" are returned. No code of a pickle is run, whatever it
    holds. The tensors lie in the file until they are used, so that memory stays low.

    Raises: UserError when the file is missing, has another hash than `sha256`, is not readable or holds no tensors.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing", ["download the checkpoint there, or name the file that you have"])
    digest = sha256_file(path) if sha256 else None
    if digest != sha256:
        raise UserError(f"{path} is another file than params.yaml says", [f"found: {digest}", f"asked for: {sha256}"])
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _read_pickle(path)
    except _UNREADABLE as error:
        advice = "give a .safetensors file, or one that PyTorch 1.6 or later saved; is the download complete?"
        raise UserError(f"{path} cannot be read as a checkpoint", [repr(error)[:200], advice]) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    entries = content.items() if isinstance(content, dict) else ()
    state = {name: value.detach() for name, value in entries if isinstance(name, str) and isinstance(value, Tensor)}
    if not state:
        raise UserError(f"{path} holds no tensors by name: it is not a checkpoint of weights")
    return state


def without_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state with the names that the network itself uses: DeepSpeed and DDP put "module." and such before."""
    return {re.sub(r"^(?:(?:_forward_module|module)\.)+", "", name): value for name, value in state.items()}


def convert(converter: Callable, source: Mapping[str, Tensor], config: Mapping) -> dict[str, Tensor]:
    """Return what a converter of diffusers makes of `source`, the same tensors by other names.

    Raises: UserError when a tensor is missing without which the converter fails.
    """
    try:
        return {name: value for name, value in converter(dict(source), config).items() if value is not None}
    except KeyError as error:
        raise UserError(f"the checkpoint lacks {error.args[0]}") from error


def misfits(expected: Mapping[str, Tensor], converted: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> list[str]:
    """Return one line for every tensor that is missing, has another shape, or is in `source` for nothing.

    `converted` holds tensors of `source` by other names, so that one storage tells where a tensor comes from.
    """
    origin = {value.data_ptr(): name for name, value in source.items()}
    used = {converted[name].data_ptr() for name in expected if name in converted}
    problems = [f"missing: {name}, as diffusers names it" for name in expected if name not in converted]
    problems += [f"unexpected: {name}" for pointer, name in origin.items() if pointer not in used]
    return problems + [
        f"{origin[converted[name].data_ptr()]} has the shape {tuple(converted[name].shape)}, not {tuple(value.shape)}"
        for name, value in expected.items()
        if name in converted and converted[name].shape != value.shape
    ]


def refuse_misfits(title: str, problems: Iterable[str]) -> None:
    """Raise UserError with the number of problems and the first few, if there are any."""
    listed = list(problems)
    if listed:
        raise UserError(f"{title}: {len(listed)} weights do not fit, such as", listed[:8])


def flat_state(modules: Mapping[str, torch.nn.Module]) -> dict[str, Tensor]:
    """Return the weights of all modules on the CPU by one name each, the module's and their own."""
    return {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }


def load_flat_state(modules: Mapping[str, torch.nn.Module], state: Mapping[str, Tensor]) -> None:
    """Load what `flat_state` returned. Raises: UserError when a name or a shape is missing, extra or different."""
    refuse_misfits("the checkpoint is of another generator", misfits(flat_state(modules), state, state))
    for prefix, module in modules.items():
        module.load_state_dict({k[len(prefix) + 1 :]: v for k, v in state.items() if k.startswith(f"{prefix}.")})
