"""Adaptively Distilled ControlNet: the gradient table, the step against stock networks, and what is left behind."""

import copy
from functools import partial

import pytest
import torch
from diffusers import UNet2DConditionModel
from pydantic import ValidationError
from safetensors.torch import load_file

from siamese.base.devices import seeded
from siamese.config.adc import AdcRow
from siamese.config.rows import ControlNetRow
from siamese.method import adc as adc_module
from siamese.method.adc import adc_step, adc_teacher, distill_weights
from siamese.method.checkpoint import load_generator
from siamese.method.control import decoder_modules
from siamese.method.losses import consistency_loss, mse_per_sample
from siamese.method.networks import Networks, control_networks
from siamese.method.step import mask_step
from siamese.training.loop import Run
from siamese.training.train import train_generator, training_networks
from tests.siamese.conftest import TRAINING

DHI = {"hint": "dhi", "hint_widths": (4, 8, 16)}


def row_of(**settings) -> AdcRow:
    return AdcRow(method="adc", **DHI, **settings)


@pytest.fixture
def networks_of(make_networks):
    """Return a function that builds float64 networks; `perturb`: as if trained, so that no zero hides a gradient."""

    def build(row=None, *, perturb=True) -> Networks:
        controlnet, unet = make_networks(perturb=perturb)
        nets = Networks(unet, {"controlnet": controlnet}, keeps_decoder=True)
        nets = nets._replace(teacher=seeded(lambda: adc_teacher(row or row_of(), nets), 3))
        rng = torch.Generator().manual_seed(4)
        for parameter in (p for net in nets.teacher.values() for p in net.double().parameters()):
            if perturb:
                parameter.data += 0.1 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
        return nets

    return build


@pytest.fixture
def batch_of(make_batch):
    """Return a function that draws a float64 batch whose masks are lesion and background."""

    def build(timesteps):
        batch = make_batch(timesteps)
        return batch._replace(mask_hint=(batch.mask_hint[:, :1] > 0.7).double().expand(-1, 3, -1, -1))

    return build


def named_parameters(nets):
    parts = {"student": nets.controlnet, **nets.teacher, "unet": nets.unet}
    return {f"{part}.{name}": p for part, net in parts.items() for name, p in net.named_parameters()}


def gradients(nets):
    return {name: p.grad for name, p in named_parameters(nets).items() if p.grad is not None}


def test_the_defaults_are_the_papers():
    row = row_of()
    assert (row.image_share, row.w_t, row.w_d, row.distill_weights) == (1.0, 1.0, 1.0, "ratio")
    assert (row.distill_normalize, row.detach_mask, row.teacher_init) == (False, False, "pretrained")
    with pytest.raises(ValidationError, match="distill_normalize does nothing"):
        row_of(distill_weights="uniform", distill_normalize=True)


@pytest.mark.heavy
def test_without_a_teacher_five_steps_are_those_of_controlnet(training_data, base_dir, tmp_path):
    rows = {"adc": row_of(w_t=0.0, w_d=0.0), "controlnet": ControlNetRow(method="controlnet", **DHI)}
    saved = {}
    for name, row in rows.items():
        out, work = tmp_path / name, tmp_path / f"{name}-work"
        out.mkdir(), work.mkdir()
        train_generator(training_data, row, Run(TRAINING.model_copy(update={"steps": 5}), base_dir, out, work))
        saved[name] = load_file(out / "generator.safetensors")
    assert saved["adc"].keys() == saved["controlnet"].keys()
    assert all(torch.equal(value, saved["controlnet"][key]) for key, value in saved["adc"].items())


GROUPS = ("C_S", "DHI_S", "C_T", "DHI_T", "D_S", "D_T", "frozen")
TABLE = {"mask": "C_S DHI_S D_S", "image": "C_S DHI_S C_T DHI_T D_T", "consistency": "C_S DHI_S D_S"}


def group(name: str) -> str:
    part, _, rest = name.partition(".")
    if part == "decoder":
        return "D_T"
    if part == "unet":
        return "D_S" if rest.startswith(("up_blocks", "conv_norm_out", "conv_out")) else "frozen"
    return f"{'DHI' if 'cond_embedding' in rest else 'C'}_{'S' if part == 'student' else 'T'}"


@pytest.mark.parametrize("detach", [False, True])
def test_the_gradient_table_cell_by_cell(networks_of, batch_of, monkeypatch, detach):
    """One loss at a time: the step calls mse_per_sample for L_T, then for L_S."""
    nets, batch, order = networks_of(), batch_of([100, 500]), []

    def weighted(pred, noise, lesion, term):
        return mse_per_sample(pred, noise, lesion) * (order.pop(0) == term)

    for term, reached in TABLE.items():
        order += ["image", "mask"]
        for net in nets.all():
            net.zero_grad(set_to_none=True)
        monkeypatch.setattr(adc_module, "mse_per_sample", partial(weighted, term=term))
        adc_step(nets, row_of(w_d=float(term == "consistency"), detach_mask=detach), batch, 1 / 2)
        moved = dict.fromkeys(GROUPS, False)
        for name, gradient in gradients(nets).items():
            moved[group(name)] |= bool(gradient.any())
        cut = {"C_S", "DHI_S"} if detach and term == "image" else set()
        assert {name for name in GROUPS if moved[name]} == {*reached.split()} - cut, term


def test_at_step_0_teacher_and_student_are_the_base_model(networks_of, batch_of):
    nets, batch = networks_of(perturb=False), batch_of([1, 500, 999])
    expected = mse_per_sample(nets.unet(batch.noisy_latents, batch.timesteps, batch.context).sample, batch.noise)
    for share in (1.0, 0.25):
        terms = adc_step(nets, row_of(image_share=share), batch, 1 / 3)
        assert not terms["consistency"].any()
        assert torch.equal(terms["mask"], expected)
        assert torch.equal(terms["image"], expected)


def test_distillation_by_hand_on_a_lesion_of_a_quarter():
    hints = torch.zeros(1, 3, 8, 8)
    hints[..., :4, :4] = 1
    latents = torch.zeros(1, 4, 4, 4)
    weights = distill_weights(row_of(), hints, latents)
    lesion = torch.zeros(4, 4)
    lesion[:2, :2] = 1
    assert torch.equal(weights[0, 0], torch.where(lesion > 0, 3 / 4, 1 / 4))
    assert weights.mean() == 2 * 1 / 4 * 3 / 4 == 3 / 8
    assert consistency_loss(latents + 1, latents, weights).tolist() == [3 / 8]
    assert consistency_loss(latents + 2 * lesion, latents, weights).tolist() == [4 * 3 / 4 * 4 / 16]
    assert distill_weights(row_of(distill_normalize=True), hints, latents).mean() == pytest.approx(1)
    assert distill_weights(row_of(distill_weights="uniform"), hints, latents) is None


def test_an_empty_mask_distils_nothing(networks_of, batch_of):
    nets, batch = networks_of(), batch_of([100, 500])
    batch = batch._replace(mask_hint=torch.zeros_like(batch.mask_hint))
    assert not adc_step(nets, row_of(), batch, 1 / 2)["consistency"].any()
    assert all(gradient.isfinite().all() for gradient in gradients(nets).values())
    assert adc_step(nets, row_of(distill_normalize=True), batch, 1 / 2)["consistency"].all()


def naive(nets, row, batch):
    """Return the loss as one graph through stock networks, the teacher with a UNet of its own."""
    teacher_unet = copy.deepcopy(nets.unet)  # noqa: TID251
    for name, module in decoder_modules(nets.teacher["decoder"]).items():
        setattr(teacher_unet, name, module)

    def predicted(unet, down, mid):
        return unet(
            batch.noisy_latents, batch.timesteps, batch.context,
            down_block_additional_residuals=down, mid_block_additional_residual=mid,
        ).sample  # fmt: skip

    at = (batch.noisy_latents, batch.timesteps, batch.context)
    (*down, mid), (*image_down, image_mid) = (
        (*levels, middle)
        for levels, middle in (
            nets.controlnet(*at, batch.mask_hint, return_dict=False),
            nets.teacher["image_controlnet"](*at, batch.image_hint, return_dict=False),
        )
    )
    student = predicted(nets.unet, down, mid)
    seen = [level.detach() if row.detach_mask else level for level in (*down, mid)]
    *mixed, middle = [m + row.image_share * i for m, i in zip(seen, (*image_down, image_mid), strict=True)]
    teacher = predicted(teacher_unet, mixed, middle)
    lesion = (batch.mask_hint[:, :1, ::2, ::2] > 0).double()
    share = lesion.mean((1, 2, 3), keepdim=True)
    weights = lesion * (1 - share) + (1 - lesion) * share
    weights = weights / weights.mean((1, 2, 3), keepdim=True) if row.distill_normalize else weights
    distilled = (weights * (student - teacher.detach()).square()).mean()
    loss = (student - batch.noise).square().mean()
    return loss + row.w_t * (teacher - batch.noise).square().mean() + row.w_d * distilled


OTHER = {"image_share": 0.25, "w_t": 0.5, "w_d": 2.0, "distill_normalize": True}


@pytest.mark.parametrize(("settings", "checkpointing"), [({}, False), (OTHER, False), ({"detach_mask": True}, True)])
def test_three_backward_calls_are_one_on_the_naive_graph(networks_of, batch_of, settings, checkpointing):
    row, nets, batch = row_of(**settings), networks_of(), batch_of([0, 200, 900])
    expected = naive(nets, row, batch)
    expected.backward()
    theirs = {name: gradient.clone() for name, gradient in gradients(nets).items()}
    for net in nets.all():
        net.zero_grad(set_to_none=True)
        if checkpointing:
            net.enable_gradient_checkpointing()
    terms = adc_step(nets, row, batch, 1 / 3)
    loss = terms["mask"] + row.w_t * terms["image"] + row.w_d * terms["consistency"]
    assert loss.mean().item() == pytest.approx(expected.item(), rel=1e-6)
    ours = gradients(nets)
    assert ours.keys() == theirs.keys()
    worst = max(float((ours[name] - theirs[name]).abs().max() / theirs[name].abs().max()) for name in ours)
    assert worst < 1e-6
    assert {name for name, p in named_parameters(nets).items() if p.requires_grad} == ours.keys()


def test_a_teacher_without_a_loss_anchors_and_is_not_trained(networks_of, batch_of):
    nets, batch = networks_of(), batch_of([100, 500])
    terms = adc_step(nets, row_of(w_t=0.0), batch, 1 / 2)
    assert terms["consistency"].all()
    assert {name.split(".")[0] for name in gradients(nets)} == {"student", "unet"}


def test_without_both_weights_the_step_is_that_of_controlnet(networks_of, batch_of):
    batch, found = batch_of([100, 500]), []
    for step in (lambda n: adc_step(n, row_of(w_t=0.0, w_d=0.0), batch, 1 / 2)["mask"],
                 lambda n: mask_step(n.controlnet, n.unet, batch, 1 / 2)):  # fmt: skip
        nets = networks_of()
        found.append([step(nets), *gradients(nets).values()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_random_teacher_takes_nothing_from_the_unet(make_networks):
    controlnet, unet = make_networks()
    for parameter in unet.float().parameters():  # of a new network all normalisations are alike
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    nets, source = Networks(unet, {"controlnet": controlnet}, keeps_decoder=True), unet.state_dict()
    for start in ("pretrained", "random"):
        teacher = adc_teacher(row_of(teacher_init=start), nets)
        state = teacher["image_controlnet"].state_dict()
        shared = state.keys() & source.keys()
        assert {name.split(".")[0] for name in shared} == {"conv_in", "time_embedding", "down_blocks", "mid_block"}
        alike = {name for name in shared if torch.equal(state[name], source[name])}
        assert alike == (shared if start == "pretrained" else set())
        zero = [value for name, value in state.items() if "controlnet_down" in name or "controlnet_mid" in name]
        assert not any(value.any() for value in zero)
        decoder = teacher["decoder"].state_dict()
        assert all(torch.equal(value, source[name]) for name, value in decoder.items())
        assert not {value.data_ptr() for value in decoder.values()} & {value.data_ptr() for value in source.values()}


@pytest.mark.heavy
def test_the_teacher_is_left_behind(training_data, base_dir, tmp_path):
    out, work = tmp_path / "out", tmp_path / "work"
    out.mkdir(), work.mkdir()
    cfg = TRAINING.model_copy(update={"steps": 3})
    train_generator(training_data, row_of(), Run(cfg, base_dir, out, work))
    parts = {name.split(".")[0] for name in load_file(out / "generator.safetensors")}
    assert parts == {"controlnet", "unet", "context"}
    resumed = load_file(work / "step-2/weights.safetensors")
    assert {name.split(".")[1] for name in resumed if name.startswith("teacher.")} == {"image_controlnet", "decoder"}
    assert load_generator(out, base_dir).networks.teacher == {}


def test_the_trainer_prepares_the_teachers_decoder_as_the_students(base_dir):
    cfg = TRAINING.model_copy(update={"gradient_checkpointing": True})
    nets = training_networks(row_of(), cfg, base_dir, torch.device("cpu"))
    decoder = nets.teacher["decoder"]
    assert all(block.gradient_checkpointing for block in decoder.up_blocks)
    assert not decoder.training
    frozen = control_networks(row_of(train_decoder=False), nets.unet, 2)
    assert not any(p.requires_grad for p in adc_teacher(row_of(), frozen)["decoder"].parameters())


@pytest.mark.heavy
def test_sizes_at_stable_diffusion_1_5():
    row = AdcRow(method="adc", hint="dhi", hint_widths=(16, 32, 64, 128, 256))
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=48, cross_attention_dim=768).requires_grad_(False)
        nets = control_networks(row, unet, 8)
        nets = nets._replace(teacher=adc_teacher(row, nets))
    student = sum(p.numel() for module in nets.saved().values() for p in module.parameters())
    trained = sum(p.numel() for net in nets.all() for p in net.parameters() if p.requires_grad)
    assert student / 1e6 == pytest.approx(874, abs=0.5)
    assert trained == 2 * student
