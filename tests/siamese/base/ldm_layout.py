"""Stable Diffusion 1.x and its ControlNet as the original code (ldm, cldm) names them, written from the architecture.

`checkpoint` gives random weights under those names; `unet` and `control` compute with them literally, one torch
function after another. Nothing here knows the names of diffusers.
"""

import math

import torch
from torch.nn import functional as F

WIDTHS, CONTEXT, WORDS = (32, 64, 128, 128), 64, 49408  # level 3 as wide as level 2, like SD 1.5: it has no shortcut
DENSE_WIDTHS, PLAIN_WIDTHS = (16, 32, 64, 128, 256), (16, 16, 32, 32, 96, 96, 256)
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."


def _layer(name, *shape, bias=True):
    return {f"{name}.weight": shape} | ({f"{name}.bias": shape[:1]} if bias else {})


def _conv(name, width, out, side=3):
    return _layer(name, out, width, side, side)


def _res(name, width, out):
    shapes = _layer(f"{name}.in_layers.0", width) | _conv(f"{name}.in_layers.2", width, out)
    shapes |= _layer(f"{name}.emb_layers.1", out, 4 * WIDTHS[0]) | _layer(f"{name}.out_layers.0", out)
    shapes |= _conv(f"{name}.out_layers.3", out, out)
    return shapes | (_conv(f"{name}.skip_connection", width, out, 1) if width != out else {})


def _transformer(name, width):
    block = f"{name}.transformer_blocks.0"
    shapes = _layer(f"{name}.norm", width) | _conv(f"{name}.proj_in", width, width, 1)
    for attention, context in (("attn1", width), ("attn2", CONTEXT)):
        shapes |= _layer(f"{block}.{attention}.to_q", width, width, bias=False)
        shapes |= _layer(f"{block}.{attention}.to_k", width, context, bias=False)
        shapes |= _layer(f"{block}.{attention}.to_v", width, context, bias=False)
        shapes |= _layer(f"{block}.{attention}.to_out.0", width, width)
    shapes |= _layer(f"{block}.ff.net.0.proj", 8 * width, width) | _layer(f"{block}.ff.net.2", width, 4 * width)
    for number in (1, 2, 3):
        shapes |= _layer(f"{block}.norm{number}", width)
    return shapes | _conv(f"{name}.proj_out", width, width, 1)


def _encoder():
    """Return the shapes of the first half of the UNet, which ControlNet copies, and the widths of its 12 skips."""
    first, top = WIDTHS[0], WIDTHS[-1]
    shapes = _layer("time_embed.0", 4 * first, first) | _layer("time_embed.2", 4 * first, 4 * first)
    shapes |= _conv("input_blocks.0.0", 4, first)
    skips, width = [first], first
    for level, out in enumerate(WIDTHS):
        for _ in range(2):
            shapes |= _res(f"input_blocks.{len(skips)}.0", width, out)
            shapes |= _transformer(f"input_blocks.{len(skips)}.1", out) if level < 3 else {}
            skips.append(width := out)
        if level < 3:
            shapes |= _conv(f"input_blocks.{len(skips)}.0.op", out, out)
            skips.append(out)
    shapes |= _res("middle_block.0", top, top) | _transformer("middle_block.1", top) | _res("middle_block.2", top, top)
    return shapes, skips


def unet_shapes():
    shapes, skips = _encoder()
    width = WIDTHS[-1]
    for number in range(12):
        level = 3 - number // 3
        shapes |= _res(f"output_blocks.{number}.0", width + skips.pop(), WIDTHS[level])
        width = WIDTHS[level]
        shapes |= _transformer(f"output_blocks.{number}.1", width) if level < 3 else {}
        if number % 3 == 2 and level > 0:
            shapes |= _conv(f"output_blocks.{number}.{2 if level < 3 else 1}.conv", width, width)
    return shapes | _layer("out.0", width) | _conv("out.2", width, 4)


def control_shapes(hint):
    shapes, skips = _encoder()
    for number, width in enumerate(skips):
        shapes |= _conv(f"zero_convs.{number}.0", width, width, 1)
    shapes |= _conv("middle_block_out.0", WIDTHS[-1], WIDTHS[-1], 1)
    if hint == "hi":
        pairs = zip((3, *PLAIN_WIDTHS), (*PLAIN_WIDTHS, WIDTHS[0]), strict=True)
        return shapes | {
            k: v for i, pair in enumerate(pairs) for k, v in _conv(f"input_hint_block.{2 * i}", *pair).items()
        }
    width = 3
    for stage, out in enumerate(DENSE_WIDTHS, 1):
        name = "input_hint_block.0"
        shapes |= _conv(f"{name}.{'initial_conv' if stage == 1 else f'conv_before_res{stage}'}", width, out)
        shapes |= _conv(f"{name}.layer{stage}.conv1", out, out) | _conv(f"{name}.layer{stage}.conv2", out, out)
        width = out
        if 1 < stage < 5:
            merge = f"{name}.patch_merge{stage - 1}"
            shapes |= _layer(f"{merge}.norm", 4 * out) | _layer(f"{merge}.reduction", 2 * out, 4 * out)
            width = 2 * out
    return shapes | _conv("input_hint_block.1", width, WIDTHS[0])


def _vae_res(name, width, out):
    shapes = _layer(f"{name}.norm1", width) | _conv(f"{name}.conv1", width, out)
    shapes |= _layer(f"{name}.norm2", out) | _conv(f"{name}.conv2", out, out)
    return shapes | (_conv(f"{name}.nin_shortcut", width, out, 1) if width != out else {})


def _vae_half(half, entry, exit_, levels, blocks, resample):
    """Return the shapes of an encoder or decoder that goes through `levels`, pairs of number and width, in order."""
    top = WIDTHS[-1]
    inner = levels[0][1]
    shapes, width = _conv(f"{half}.conv_in", entry, inner), inner
    for number, out in levels:
        name = f"{half}.{resample[:-6]}.{number}"
        for block in range(blocks):
            shapes |= _vae_res(f"{name}.block.{block}", width, out)
            width = out
        if number != levels[-1][0]:
            shapes |= _conv(f"{name}.{resample}.conv", out, out)
    shapes |= _vae_res(f"{half}.mid.block_1", top, top) | _vae_res(f"{half}.mid.block_2", top, top)
    shapes |= _layer(f"{half}.mid.attn_1.norm", top)
    for name in ("q", "k", "v", "proj_out"):
        shapes |= _conv(f"{half}.mid.attn_1.{name}", top, top, 1)
    return shapes | _layer(f"{half}.norm_out", width) | _conv(f"{half}.conv_out", width, exit_)


def vae_shapes():
    levels = list(enumerate(WIDTHS))
    shapes = _vae_half("encoder", 3, 8, levels, 2, "downsample")
    shapes |= _vae_half("decoder", 4, 3, levels[::-1], 3, "upsample")
    return shapes | _conv("quant_conv", 8, 8, 1) | _conv("post_quant_conv", 4, 4, 1)


def clip_shapes():
    shapes = _layer("embeddings.token_embedding", WORDS, CONTEXT, bias=False)
    shapes |= _layer("embeddings.position_embedding", 77, CONTEXT, bias=False) | _layer("final_layer_norm", CONTEXT)
    for number in range(12):
        name = f"encoder.layers.{number}"
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _layer(f"{name}.self_attn.{projection}", CONTEXT, CONTEXT)
        shapes |= _layer(f"{name}.mlp.fc1", 4 * CONTEXT, CONTEXT) | _layer(f"{name}.mlp.fc2", CONTEXT, 4 * CONTEXT)
        shapes |= _layer(f"{name}.layer_norm1", CONTEXT) | _layer(f"{name}.layer_norm2", CONTEXT)
    return shapes


def checkpoint(*, ema=True, hint=None):
    """Return a whole checkpoint, with a ControlNet where `hint` is hi or dhi; every tensor differs from all others."""
    rng = torch.Generator().manual_seed(0)
    unet = unet_shapes()
    shapes = {f"{UNET}{name}": shape for name, shape in unet.items()}
    shapes |= {f"model_ema.diffusion_model{name.replace('.', '')}": shape for name, shape in unet.items() if ema}
    shapes |= {f"{VAE}{name}": shape for name, shape in vae_shapes().items()}
    shapes |= {f"{TEXT}{name}": shape for name, shape in clip_shapes().items()}
    shapes |= {f"control_model.{name}": shape for name, shape in (control_shapes(hint) if hint else {}).items()}
    state = {name: _draw(shape, rng) for name, shape in shapes.items()}
    state |= {"betas": torch.linspace(0.00085, 0.012, 1000), "alphas_cumprod": torch.linspace(1, 0, 1000)}
    state |= {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7)} if ema else {}
    return state | {f"{TEXT}embeddings.position_ids": torch.arange(77)[None]}


def _draw(shape, rng):
    scale = 0.3 if len(shape) == 1 else math.prod(shape[1:]) ** -0.5
    return torch.randn(shape, generator=rng) * scale + (0.7 if len(shape) == 1 else 0)


def part(state, prefix):
    """Return the weights below a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def conv(w, name, x, **options):
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **options)


def linear(w, name, x):
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def group_norm(w, name, x, eps=1e-5):
    return F.group_norm(x, 32, w[f"{name}.weight"], w[f"{name}.bias"], eps)


def layer_norm(w, name, x):
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def attend(q, k, v, heads, mask=0):
    """Return softmax(q k / sqrt(d) + mask) v for (B, N, heads * d)."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return ((q @ k.mT / q.shape[-1] ** 0.5 + mask).softmax(-1) @ v).transpose(1, 2).flatten(2)


def _resnet(w, x, emb):
    h = conv(w, "in_layers.2", F.silu(group_norm(w, "in_layers.0", x)), padding=1)
    h = h + linear(w, "emb_layers.1", F.silu(emb))[..., None, None]
    h = conv(w, "out_layers.3", F.silu(group_norm(w, "out_layers.0", h)), padding=1)
    return h + (conv(w, "skip_connection", x) if "skip_connection.weight" in w else x)


def _spatial_transformer(w, x, context):
    h = conv(w, "proj_in", group_norm(w, "norm", x, 1e-6)).flatten(2).mT
    b = part(w, "transformer_blocks.0.")
    for number, name in ((1, "attn1"), (2, "attn2")):
        query = layer_norm(b, f"norm{number}", h)
        seen = query if name == "attn1" else context
        q, k, v = (linear(b, f"{name}.to_{letter}", y) for letter, y in (("q", query), ("k", seen), ("v", seen)))
        h = h + linear(b, f"{name}.to_out.0", attend(q, k, v, 8))
    value, gate = linear(b, "ff.net.0.proj", layer_norm(b, "norm3", h)).chunk(2, -1)
    h = h + linear(b, "ff.net.2", value * F.gelu(gate))
    return x + conv(w, "proj_out", h.mT.unflatten(2, x.shape[2:]))


def _block(w, x, emb, context):
    """Run the members 0, 1, ... of one input, middle or output block; their weights tell of which kind they are."""
    number = 0
    while member := part(w, f"{number}."):
        if "in_layers.0.weight" in member:
            x = _resnet(member, x, emb)
        elif "proj_in.weight" in member:
            x = _spatial_transformer(member, x, context)
        elif "op.weight" in member:
            x = conv(member, "op", x, stride=2, padding=1)
        elif "conv.weight" in member:
            x = conv(member, "conv", F.interpolate(x, scale_factor=2), padding=1)
        else:
            x = F.conv2d(x, member["weight"], member["bias"], padding=1)
        number += 1
    return x


def _encode(w, x, timesteps, context, hint=0):
    angles = timesteps[:, None] * 10000 ** (-torch.arange(WIDTHS[0] // 2, dtype=x.dtype) / (WIDTHS[0] // 2))
    emb = torch.cat([angles.cos(), angles.sin()], -1)
    emb = linear(w, "time_embed.2", F.silu(linear(w, "time_embed.0", emb)))
    skips = []
    for number in range(12):
        x = _block(part(w, f"input_blocks.{number}."), x, emb, context)
        x = x + hint if number == 0 else x
        skips.append(x)
    return skips, _block(part(w, "middle_block."), x, emb, context), emb


def unet(state, x, timesteps, context, residuals=(0,) * 13):
    """Return the predicted noise; `residuals` are those of `control`."""
    w = part(state, UNET)
    skips, x, emb = _encode(w, x, timesteps, context)
    x = x + residuals[-1]
    for number in range(12):
        x = torch.cat([x, skips[11 - number] + residuals[11 - number]], 1)
        x = _block(part(w, f"output_blocks.{number}."), x, emb, context)
    return conv(w, "out.2", F.silu(group_norm(w, "out.0", x)), padding=1)


def _plain_hint(w, x):
    for number in range(8):
        x = conv(w, f"{2 * number}", x, padding=1, stride=2 if number in (2, 4, 6) else 1)
        x = F.silu(x) if number < 7 else x
    return x


def _dense_hint(w, x):
    """Spec: generators.md, table 1.5."""
    for stage in range(1, 6):
        x = conv(w, "0.initial_conv" if stage == 1 else f"0.conv_before_res{stage}", x, padding=1)
        inner = F.silu(conv(w, f"0.layer{stage}.conv1", x, padding=1))
        x = F.silu(x + conv(w, f"0.layer{stage}.conv2", inner, padding=1))
        if 1 < stage < 5:
            corners = torch.cat([x[..., i::2, j::2] for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))], 1).movedim(1, -1)
            name = f"0.patch_merge{stage - 1}"
            x = linear(w, f"{name}.reduction", layer_norm(w, f"{name}.norm", corners)).movedim(-1, 1)
    return conv(w, "1", x, padding=1)


def control(state, x, timesteps, context, hint):
    """Return the 13 residuals of the ControlNet, the one of the middle block last."""
    w = part(state, "control_model.")
    encoder = part(w, "input_hint_block.")
    features = (_plain_hint if "0.weight" in encoder else _dense_hint)(encoder, hint)
    skips, mid, _ = _encode(w, x, timesteps, context, features)
    return [conv(w, f"zero_convs.{i}.0", skip) for i, skip in enumerate(skips)] + [conv(w, "middle_block_out.0", mid)]
