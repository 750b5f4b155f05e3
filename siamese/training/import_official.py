"""Trained weights of the paper's official code, which uses the names of ControlNet's original code (cldm)."""

from collections.abc import Mapping
from pathlib import Path

from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint, convert_ldm_unet_checkpoint
from torch import Tensor

from data.pairs.errors import UserError
from data.pairs.files import sha256_file
from siamese.base.checkpoint_files import UNET, convert, misfits, read_checkpoint, refuse_misfits, without_wrappers
from siamese.base.load import base_info
from siamese.config.rows import HintRow
from siamese.method.checkpoint import build_networks, save_generator
from siamese.method.control import decoder_modules
from siamese.method.hint import DenseHintEncoder

CONTROL = "control_model."
HINT = f"{CONTROL}input_hint_block."
DENSE_LAYERS = (
    *("initial_conv", "layer1", "conv_before_res2", "layer2", "patch_merge1"),
    *("conv_before_res3", "layer3", "patch_merge2", "conv_before_res4", "layer4", "patch_merge3"),
    *("conv_before_res5", "layer5"),
)


def _dense_name(official: str) -> str:
    """Return our name of a weight of the dense hint encoder; a name that is not known stays, and is refused later."""
    module, _, name = official.removeprefix(HINT).partition(".")
    if module == "1":
        return f"out.{name}"
    layer, _, leaf = name.partition(".")
    if layer not in DENSE_LAYERS:
        return official
    return f"layers.{DENSE_LAYERS.index(layer)}.{leaf.replace('reduction.', 'project.')}"


def load_official(state: Mapping[str, Tensor], controlnet: ControlNetModel, unet: UNet2DConditionModel) -> None:
    """Load the ControlNet and the trained half of the UNet from a checkpoint of the official code, or change nothing.

    The frozen half of the UNet is left as it is. The averaged weights in such a file (model_ema.*) are the base
    model's, since training never updated them, and are not read.

    Raises: UserError when the hint encoders are of different kinds, and for every tensor of the trained parts that is
    missing, not expected, or of another shape.
    """
    state = without_wrappers(state)
    control = {name: value for name, value in state.items() if name.startswith(CONTROL)}
    decoder = {
        name: value for name, value in state.items() if name.startswith((f"{UNET}output_blocks.", f"{UNET}out."))
    }
    if not control or not decoder:
        lacks = " and ".join([CONTROL + "*"] * (not control) + [UNET + "output_blocks.*"] * (not decoder))
        raise UserError(f"the checkpoint has no weights {lacks}: give one that the official training wrote")
    has_dense = f"{HINT}0.initial_conv.weight" in control
    wants_dense = isinstance(controlnet.controlnet_cond_embedding, DenseHintEncoder)
    if has_dense != wants_dense:
        kinds = {True: "the dense hint encoder (hint: dhi)", False: "ControlNet's hint encoder (hint: hi)"}
        raise UserError(f"the checkpoint has {kinds[has_dense]}, but the generator is to have {kinds[wants_dense]}")

    hint = {name: value for name, value in control.items() if has_dense and name.startswith(HINT)}
    shared = {name: value for name, value in control.items() if name not in hint}
    controls = convert(convert_controlnet_checkpoint, shared, controlnet.config)
    controls |= {f"controlnet_cond_embedding.{_dense_name(name)}": value for name, value in hint.items()}
    decoders = convert(convert_ldm_unet_checkpoint, decoder, unet.config)
    modules = decoder_modules(unet)
    expected = {f"{part}.{name}": value for part in modules for name, value in modules[part].state_dict().items()}
    problems = [*misfits(controlnet.state_dict(), controls, control), *misfits(expected, decoders, decoder)]
    refuse_misfits("the checkpoint is of another generator", problems)

    controlnet.load_state_dict(controls)
    for part, module in modules.items():
        module.load_state_dict({name: decoders[f"{part}.{name}"] for name in module.state_dict()})


def import_generator(row: HintRow, context: Tensor, base_dir: Path, out_dir: Path) -> None:
    """Write the generator of the checkpoint `row.weights` to out_dir, as training writes one, without loss.csv.

    context (2, 77, D) are the embeddings of the prompt and of the empty one.

    Raises: UserError when the checkpoint is missing, unreadable or does not fit the row or the base model.
    """
    if row.weights is None:
        raise ValueError("the row names no checkpoint")
    path = Path(row.weights).expanduser()
    state = read_checkpoint(path, row.weights_sha256)
    networks = build_networks(row, base_dir, teacher=False)
    load_official(state, networks.controlnet, networks.unet)
    imported = {"path": str(path), "sha256": sha256_file(path)}
    config = {"generator": row.model_dump(mode="json"), "imported": imported, "base": base_info(base_dir)["sha256"]}
    save_generator(networks, context, config, out_dir)
