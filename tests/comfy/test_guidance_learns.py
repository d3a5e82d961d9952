"""Body guidance learns: after a short training on one scene, whose pose is shown decides what is painted behind a hole.

A small UNet of Stable Diffusion 2's real class and its guidance are trained together on two people who look alike where
they are seen, and hold their arms in different ways where they are not. Pictures are latents here: no VAE is needed.
"""

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.sample
import comfy.supported_models
import pytest
import torch

from mild.mild_core.comfy.families import body_config_of
from mild.mild_core.comfy.guidance.body_control import MorphologyControl
from mild.mild_core.comfy.guidance.load import load_guidance, patcher_for
from mild.mild_core.guidance.maps import maps
from mild.mild_core.guidance.network import MorphologyGuidance, save_guidance
from mild.tests.helpers.bodies import morphology

CELLS = (16, 12)  # of one person's layer
SIZE = (128, 192)  # of the photo
BOXES = ((0, 0, 96, 128), (96, 0, 192, 128))
STEPS, ROWS = 100, 6

LEGS = {8: (42, 78), 9: (40, 100), 10: (40, 122), 11: (54, 78), 12: (56, 100), 13: (56, 122)}
HEAD = {0: (48, 26), 1: (48, 40), 2: (38, 42), 5: (58, 42), 14: (46, 24), 15: (50, 24), 16: (43, 25), 17: (53, 25)}
ARMS = (
    {3: (24, 30), 4: (20, 8), 6: (72, 30), 7: (76, 8)},  # up
    {3: (26, 60), 4: (14, 80), 6: (70, 60), 7: (82, 80)},  # down
)
LIMBS = ((2, 3), (3, 4), (5, 6), (6, 7))


def joints(who):
    """[18, 3] in the photo."""
    points = HEAD | LEGS | ARMS[who]
    return torch.tensor([[points[n][0] + BOXES[who][0], points[n][1], 1.0] for n in range(18)])


def scene(sure=(1.0, 1.0)):
    """Both people, each seen from the shoulders to the feet; sure: the confidence in each."""
    places = [(x0 + 36, 14, x0 + 60, 126) for x0, _, _, _ in BOXES]
    return morphology(SIZE, places, sure=sure, joints=[joints(0), joints(1)])


def pictures():
    """Latents [2, 4, *CELLS] of both people, and the part [*CELLS] that nobody sees: all beside the bodies."""
    y, x = (torch.arange(side)[:, None] + 0.5 if n == 0 else torch.arange(side) + 0.5 for n, side in enumerate(CELLS))
    here = torch.stack([x.expand(CELLS) * 8, y.expand(CELLS) * 8], -1)
    body = (here[..., 0] > 36) & (here[..., 0] < 60)
    ground = torch.stack([x.expand(CELLS) / 12 - 0.5, y.expand(CELLS) / 16 - 0.5, *torch.zeros(2, *CELLS)])
    found = []
    for who in (0, 1):
        points = joints(who)[:, :2] - torch.tensor([BOXES[who][0], 0])
        arm = torch.zeros(CELLS)
        for start, end in LIMBS:
            along = points[end] - points[start]
            share = (((here - points[start]) @ along) / (along @ along)).clamp(0, 1)
            near = (here - points[start] - share[..., None] * along).norm(dim=-1)
            arm = torch.maximum(arm, (near < 12).float())
        colours = torch.tensor([1.5, -1.0, 1.0, -1.5])[:, None, None]
        found.append(torch.where(body, -colours, torch.where(arm > 0, colours, ground)))
    return torch.stack(found), ~body


def small_model():
    """Stable Diffusion 2 for 768 px, which predicts v, with two levels and no attention but in the middle."""
    config = comfy.supported_models.SD20({
        "use_checkpoint": False, "image_size": 32, "out_channels": 4, "use_spatial_transformer": True, "legacy": False,
        "adm_in_channels": None, "in_channels": 4, "model_channels": 32, "num_res_blocks": [1, 1],
        "transformer_depth": [0, 0], "channel_mult": [1, 2], "transformer_depth_middle": 1,
        "transformer_depth_output": [0, 0, 0, 0], "use_linear_in_transformer": True, "context_dim": 16,
        "num_heads": -1, "num_head_channels": 32, "use_temporal_attention": False, "use_temporal_resblock": False,
    })  # fmt: skip
    config.set_inference_dtype(torch.float32, None)
    sign = {"output_blocks.11.1.transformer_blocks.0.norm1.bias": torch.linspace(-1, 1, 64)}
    model = config.get_model(sign, device=torch.device("cpu"))
    for name, parameter in model.diffusion_model.named_parameters():
        if parameter.ndim < 2:
            parameter.data.fill_(1.0 if name.endswith("weight") else 0.0)
        else:
            parameter.data.normal_(0.0, 0.7 * parameter[0].numel() ** -0.5)
    return model


def drawn(people, who, of):
    """[1, C, h, w]: the maps of the person `of`, laid over the layer of the person `who`."""
    shift = BOXES[of][0] - BOXES[who][0]
    x0, y0, x1, y1 = BOXES[who]
    return maps(people, of + 1, (x0 + shift, y0, x1 + shift, y1), (CELLS[0] * 2, CELLS[1] * 2))[None]


def train(model, network):
    """Both learn to denoise both people, now and then without guidance."""
    truth, _ = pictures()
    people = scene()
    control = MorphologyControl(network, patcher_for(network, torch.device("cpu")))
    which = torch.tensor([0, 1]).repeat(ROWS // 2)
    shown = torch.cat([drawn(people, who, who) for who in (0, 1)]).repeat(ROWS // 2, 1, 1, 1)
    shown[-2:] = 0
    model.diffusion_model.requires_grad_(True)
    rates = [3e-3, 1e-3]
    groups = [{"params": part.parameters()} for part in (model.diffusion_model, network)]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, STEPS, pct_start=0.1)
    text, losses = torch.zeros(ROWS, 1, 16), []
    for _ in range(STEPS):
        sigma = torch.exp(torch.rand(ROWS) * 5.5 - 2.5)
        wide = sigma[:, None, None, None]
        noisy = truth[which] + wide * torch.randn(ROWS, 4, *CELLS)
        added = control._merged(network(shown), None)
        clean = model.apply_model(noisy, sigma, c_crossattn=text, control=added)
        loss = ((clean - truth[which]) ** 2 * (wide**2 + 1) / wide**2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    model.diffusion_model.requires_grad_(False)
    return losses


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """paint(who, maps or None): the layer of a person, sampled by stock code with guidance out of a file."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = small_model()
        network = MorphologyGuidance(body_config_of(model)._replace(token_width=16, token_heads=2))
        losses = train(model, network)
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    path = tmp_path_factory.mktemp("mild") / "learnt.safetensors"
    save_guidance(path, network, network.config)
    guidance = load_guidance(path)
    device = comfy.model_management.get_torch_device()
    patcher = comfy.model_patcher.CoreModelPatcher(model, load_device=device, offload_device=torch.device("cpu"))
    truth, hidden = pictures()

    def paint(who, hint):
        values = {} if hint is None else {"control": guidance.copy().set_cond_hint(hint)}
        conds = [[torch.zeros(1, 1, 16), values]]
        latent = model.process_latent_out(torch.where(hidden, torch.zeros(()), truth[who : who + 1]))
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(5))
        with torch.inference_mode():
            samples = comfy.sample.sample(
                patcher, noise, 8, 1.0, "euler", "normal", conds, conds, latent, noise_mask=hidden[None, None].float(),
                seed=5, disable_pbar=True,
            )  # fmt: skip
        return model.process_latent_in(samples)

    return paint


def quality(painted, who):
    """PSNR in dB of the hidden part."""
    truth, hidden = pictures()
    error = ((painted[0] - truth[who]) ** 2)[:, hidden].mean()
    return float(10 * torch.log10(9 / error))  # from -1.5 to 1.5


@pytest.mark.parametrize("who", [0, 1])
def test_the_right_pose_beats_the_other_one(trained, who):
    people = scene()
    right, swapped = (quality(trained(who, drawn(people, who, of)), who) for of in (who, 1 - who))
    print(f"person {who + 1}: right pose {right:.1f} dB, swapped {swapped:.1f} dB")
    assert right > swapped + 3
    assert right > quality(trained(who, None), who)


@pytest.mark.parametrize("who", [0, 1])
def test_a_swapped_pose_without_confidence_is_no_guidance_to_the_bit(trained, who):
    sure = [1.0, 1.0]
    sure[1 - who] = 0.0
    unguided = trained(who, None)
    assert torch.equal(trained(who, drawn(scene(sure), who, 1 - who)), unguided)
    assert not torch.equal(trained(who, drawn(scene(), who, 1 - who)), unguided)
