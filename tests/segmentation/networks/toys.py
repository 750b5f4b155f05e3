"""Every network at toy width."""

TRANSFORMER = {"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 3, 4)}
RES2NET = {"layers": (1, 1, 1, 1), "channels": (8, 16, 32, 64), "stem_width": 8}
TOYS = {
    "sanet": {"encoder_args": RES2NET, "decoder_channels": (16,)},
    "polyp_pvt": {"encoder_args": TRANSFORMER, "decoder_channels": (16,)},
    "ctnet": {"encoder_args": TRANSFORMER, "decoder_channels": (16,)},
    "plain_unet": {"decoder_channels": (8, 16, 32, 64)},
    "unet": {"encoder": "tu-test_resnet", "decoder_channels": (32, 16, 16)},
    "segformer": {"encoder_args": TRANSFORMER, "decoder_channels": (32,)},
}
