"""Settings of ComfyUI's real model classes, as narrow as they get: what tiny_models.py makes models of."""

import mild.tests.helpers.in_process  # noqa: F401 (puts ComfyUI in place, so it stands first)

# isort: split
import comfy.supported_models
import torch


def _unet(channels: int = 4, **changes) -> dict:
    """Stable Diffusion 1.5's own settings, with 32 channels in place of 320, and at most twice as many."""
    return {
        "use_checkpoint": False,
        "image_size": 32,
        "out_channels": 4,
        "use_spatial_transformer": True,
        "legacy": False,
        "adm_in_channels": None,
        "in_channels": channels,
        "model_channels": 32,
        "num_res_blocks": [2, 2, 2, 2],
        "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
        "channel_mult": [1, 1, 2, 2],
        "transformer_depth_middle": 1,
        "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        "use_linear_in_transformer": False,
        "context_dim": 768,
        "num_heads": 8,
        "use_temporal_attention": False,
        "use_temporal_resblock": False,
        **changes,
    }


def _sd15():
    return comfy.supported_models.SD15(_unet())


def _sd15_inpaint():
    return comfy.supported_models.SD15(_unet(channels=9))


def _sd2(channels: int = 4):
    """Half of its heads' 64 channels."""
    return comfy.supported_models.SD20(
        _unet(
            channels,
            use_linear_in_transformer=True,
            context_dim=1024,
            num_heads=-1,
            model_channels=64,
            num_head_channels=64,
            channel_mult=[1, 1, 2, 2],
        )
    )


def _sd2_inpaint():
    return _sd2(channels=9)


def _sdxl(channels: int = 4):
    """SDXL's settings; 64 channels to fill a head, at most twice as many; one transformer in place of two or ten."""
    return comfy.supported_models.SDXL(
        _unet(
            channels,
            model_channels=64,
            num_classes="sequential",
            adm_in_channels=2816,
            num_res_blocks=[2, 2, 2],
            transformer_depth=[0, 0, 1, 1, 1, 1],
            channel_mult=[1, 2, 2],
            transformer_depth_middle=1,
            transformer_depth_output=[0, 0, 0, 1, 1, 1, 1, 1, 1],
            use_linear_in_transformer=True,
            context_dim=2048,
            num_heads=-1,
            num_head_channels=64,
        )
    )


def _sdxl_inpaint():
    return _sdxl(channels=9)


def _sd3():
    """Stable Diffusion 3.5's kind: two blocks and heads in place of 24 or 38."""
    return comfy.supported_models.SD3(
        {
            "in_channels": 16,
            "patch_size": 2,
            "depth": 2,
            "input_size": None,
            "adm_in_channels": 2048,
            "num_patches": 256,
            "pos_embed_max_size": 16,
            "pos_embed_scaling_factor": None,
            "qk_norm": "rms",
            "context_embedder_config": {
                "target": "torch.nn.Linear",
                "params": {"in_features": 4096, "out_features": 128},
            },
        }
    )


def flux_config(channels: int = 16, **changes) -> dict:
    return {
        "image_model": "flux",
        "in_channels": channels,
        "out_channels": 16,
        "vec_in_dim": 768,
        "context_in_dim": 4096,
        "hidden_size": 64,
        "mlp_ratio": 4.0,
        "num_heads": 2,
        "depth": 2,
        "depth_single_blocks": 2,
        "axes_dim": [8, 12, 12],
        "theta": 10000,
        "patch_size": 2,
        "qkv_bias": True,
        "guidance_embed": True,
        "txt_ids_dims": [],
        **changes,
    }


def _flux():
    return comfy.supported_models.Flux(flux_config())


def _flux_fill():
    """Flux Fill: 16 latent channels, 16 of the visible picture and 64 of the mask."""
    return comfy.supported_models.FluxInpaint(flux_config(channels=96))


def _flux2():
    return comfy.supported_models.Flux2(
        flux_config(
            128,
            image_model="flux2",
            out_channels=128,
            vec_in_dim=None,
            context_in_dim=7680,
            mlp_ratio=3.0,
            theta=2000,
            axes_dim=[8, 8, 8, 8],
            global_modulation=True,
            mlp_silu_act=True,
            qkv_bias=False,
            ops_bias=False,
            default_ref_method="index",
            ref_index_scale=10.0,
            txt_ids_dims=[3],
            patch_size=1,
        )
    )


def _lumina_config(**changes) -> dict:
    return {
        "image_model": "lumina2",
        "patch_size": 2,
        "in_channels": 16,
        "dim": 64,
        "cap_feat_dim": 2304,
        "n_layers": 2,
        "n_refiner_layers": 1,
        "qk_norm": True,
        "n_heads": 2,
        "n_kv_heads": 1,
        "axes_dims": [8, 12, 12],
        "axes_lens": [300, 512, 512],
        "rope_theta": 10000.0,
        "ffn_dim_multiplier": 1.0,
        **changes,
    }


def _lumina2():
    return comfy.supported_models.Lumina2(_lumina_config())


def _z_image():
    """Fills up text and picture to multiples of 32 tokens each, and modulates otherwise than Lumina 2."""
    return comfy.supported_models.ZImage(
        _lumina_config(
            dim=256,  # the least that its modulation has
            cap_feat_dim=2560,
            n_kv_heads=2,
            axes_dims=[32, 48, 48],
            rope_theta=256.0,
            z_image_modulation=True,
            time_scale=1000.0,
            pad_tokens_multiple=32,
        )
    )


def _qwen_image():
    return comfy.supported_models.QwenImage(
        {
            "image_model": "qwen_image",
            "in_channels": 64,
            "num_layers": 2,
            "attention_head_dim": 32,
            "num_attention_heads": 2,
            "joint_attention_dim": 3584,
            "axes_dims_rope": [8, 12, 12],
        }
    )


def _chroma_config(channels: int, **changes) -> dict:
    """Flux without guidance, its modulation from a network of its own."""
    config = flux_config(channels, out_channels=channels, in_dim=64, out_dim=64, hidden_dim=64, n_layers=2, **changes)
    del config["guidance_embed"]
    return config


def _chroma():
    """Unlike Flux it counts channels by patches."""
    return comfy.supported_models.Chroma(_chroma_config(64, image_model="chroma"))


def _chroma_radiance():
    """Works on pixels, in patches of 16."""
    config = _chroma_config(
        3,
        image_model="chroma_radiance",
        patch_size=16,
        nerf_hidden_size=16,
        nerf_mlp_ratio=2,
        nerf_depth=2,
        nerf_max_freqs=4,
        nerf_tile_size=512,
        nerf_final_head_type="conv",
        nerf_embedder_dtype=torch.float32,
        use_x0=True,
        use_sequential_txt_ids=False,
    )
    return comfy.supported_models.ChromaRadiance(config)


CONFIGS = {
    "sd15": _sd15,
    "sd15_inpaint": _sd15_inpaint,
    "sd2": _sd2,
    "sd2_inpaint": _sd2_inpaint,
    "sdxl": _sdxl,
    "sdxl_inpaint": _sdxl_inpaint,
    "sd3": _sd3,
    "flux": _flux,
    "flux_fill": _flux_fill,
    "flux2": _flux2,
    "lumina2": _lumina2,
    "z_image": _z_image,
    "qwen_image": _qwen_image,
    "chroma": _chroma,
    "chroma_radiance": _chroma_radiance,
}
