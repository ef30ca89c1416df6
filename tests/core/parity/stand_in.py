"""A folder of recorded tensors at other sizes than the project's own, recorded from gp3d_core itself.

It proves nothing about gp3d_core, but that the suite takes sizes, steps and camera prior from the folder it is given.
Left out is what has no size (case08, case09, of which the project's own are taken) and, of case03, the variants
whose intermediate samples would be recorded as well.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gp3d_core.networks.camera_generator import (
    CameraGenerator,
    earth_movers_distance,
    force_mean,
    gradient_penalty,
)
from gp3d_core.networks.decoder import TriplaneDecoder, TriplaneField
from gp3d_core.networks.depth_adaptor import DepthAdaptor, selection_probabilities
from gp3d_core.networks.discriminator import Discriminator
from gp3d_core.networks.generator import Generator
from gp3d_core.ops.reference import sample_importance
from gp3d_core.ops.resampling import upsample
from gp3d_core.rendering.cameras import (
    Cameras,
    cam2world,
    sample_cameras,
    sample_rays,
    spherical_to_cartesian,
)
from gp3d_core.rendering.patches import Patches
from gp3d_core.training import losses
from tests.core.parity.parity_fixtures import OWN, Case, load_case
from tests.core.parity.parity_names import CAMERA_GENERATOR_NAMES, Names, gradients
from tests.core.parity.recording import Recording, load_recording
from tests.core.parity.test_parity_networks import PROBABILITIES_AT, RECORDED_ORDER, recorded_adaptor
from tests.core.parity.test_parity_rendering import render_case

Tensors = dict[str, Tensor]
CASES = 3  # of every batch, but of discriminators
BATCH = 8


def write_stand_in(folder: Path) -> Recording:
    """Writes all cases into `folder`."""
    folder.mkdir()
    torch.manual_seed(5)
    meta = other_sizes()
    write(folder, "G_weights", {}, meta["G"])
    write(folder, "D_weights", {}, meta["D"])
    recording = load_recording(folder)
    generator = stirred(Generator(recording.config, recording.classes).eval())
    discriminator = stirred(Discriminator(recording.config, recording.classes, recording.features))
    write(folder, "G_weights", recorded(generator, recording.generator_names, "G_weights"), meta["G"])
    write(folder, "D_weights", recorded(discriminator, recording.discriminator_names, "D_weights"), meta["D"])
    write_cameras(folder, recording)
    write_field(folder)
    write_rendering(folder)
    write_importance(folder)
    write_generator(folder, recording, generator)
    write_camera_generator(folder, recording, generator)
    write_depth_adaptor(folder)
    write_discriminator(folder, recording, discriminator)
    for name in ("case08_nfs", "case09_sampling"):
        for suffix in (".safetensors", ".json"):
            shutil.copy(OWN / f"{name}{suffix}", folder)
    return recording


def other_sizes() -> dict[str, Any]:
    """The project's own settings with every size, step count and the camera prior changed."""
    found = {name: json.loads((OWN / f"{name}_weights.json").read_text()) for name in "GD"}
    g, d = found["G"]["generator"], found["D"]
    g |= {"z_dim": 20, "w_dim": 24, "c_dim": 3, "map_depth": 3, "num_ray_steps": 5, "cmax": 16}
    g["tri_plane"] |= {"res": 16, "feat_dim": 4, "mlp": {"n_layers": 2, "hid_dim": 12}}
    g["depth_adaptor"] |= {"hid_dim": 6, "kernel_size": 3, "num_hid_layers": 2}
    g["camera_adaptor"] |= {"hid_dim": 10, "embed_dim": 4}
    g["patch"] |= {"resolution": 8}
    g["camera"] |= {
        "ray": {"start": 1.45, "end": 2.55},
        "cube_scale": 0.9,
        "fov": {"dist": "normal", "mean": 40.0, "std": 0.0, "min": 10.0, "max": 45.0},
        "origin": {
            "radius": {"dist": "normal", "mean": 2.0, "std": 0.0},
            "angles": g["camera"]["origin"]["angles"] | {"dist": "normal"},
        },
        "look_at": g["camera"]["look_at"] | {"radius": {"dist": "uniform", "min": 0.0, "max": 0.0}},
    }
    d |= {"nominal_resolution": 64, "patch": 8, "feat": 20}
    d["discriminator"] |= {"c_dim": 3, "cmax": 24, "num_additional_start_blocks": 3}
    return found


def write(folder: Path, name: str, tensors: Tensors, meta: dict[str, Any]) -> None:
    """One case: its tensors and its json."""
    detached = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
    save_file(detached, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(meta))


def stirred(module: nn.Module) -> Any:
    """The module with every parameter that begins at zero drawn."""
    for parameter in module.parameters():
        if parameter.count_nonzero() == 0:
            nn.init.normal_(parameter, std=0.2)
    return module


def recorded(module: nn.Module, names: Names, like: str, prefix: str = "param:") -> Tensors:
    """State of a module under recorded names, which are those of the own case `like` at any resolution."""
    return {prefix + name: module.state_dict()[ours] for name, ours in pairs(module, names, like).items()}


def recorded_gradients(module: nn.Module, names: Names, like: str, prefix: str) -> Tensors:
    """Gradients of a module under recorded names."""
    found = gradients(module)
    return {prefix + n: found[our] for n, our in pairs(module, names, like).items() if our in found}


def recorded_norms(module: nn.Module, names: Names, like: str) -> dict[str, float]:
    """Norms of the gradients of a module by recorded names."""
    found = gradients(module)
    return {n: float(found[our].norm()) for n, our in pairs(module, names, like).items() if our in found}


def pairs(module: nn.Module, names: Names, like: str) -> dict[str, str]:
    """Our name by recorded name, for all that the module has."""
    known = set(load_case(OWN, like).under("param:"))
    known |= {re.sub(r"(^|\.)b16\.", rf"\1b{2**k}.", name) for name in known for k in range(2, 8)}
    known |= {re.sub(r"\.fc1\.", f".fc{k}.", name) for name in known for k in range(2, 8)}
    ours = {name: our for name in sorted(known) for our in names.ours({name: 0.0})}
    found = {name: our for name, our in ours.items() if our in module.state_dict()}
    assert set(found.values()) == set(module.state_dict()), set(module.state_dict()) - set(found.values())
    return found


def of_cameras(cameras: Cameras, prefix: str = "cam.") -> Tensors:
    return {prefix + name: getattr(cameras, name) for name in ("angles", "fov", "radius", "look_at")}


def of_patches(patches: Patches, prefix: str = "patch.") -> Tensors:
    return {prefix + name: getattr(patches, name) for name in ("scales", "offsets")}


def some_patches(count: int) -> Patches:
    scales = 0.3 + 0.6 * torch.rand(count, 1).expand(-1, 2)
    return Patches(scales, (1 - scales) * torch.rand(count, 2))


def some_cameras(recording: Recording, count: int) -> Cameras:
    return sample_cameras(recording.config.camera, count, torch.Generator().manual_seed(count))


def labels(recording: Recording, count: int) -> Tensor:
    return torch.eye(recording.classes)[torch.arange(count) % recording.classes]


def write_cameras(folder: Path, recording: Recording) -> None:
    cameras, patches, side = some_cameras(recording, 6), some_patches(6), 5
    cameras.angles[0, 1] = 1e-5
    double = cameras.to(dtype=torch.float64)
    whole, part = sample_rays(cameras, side), sample_rays(cameras, side, patches)
    exact = sample_rays(double, side, patches.to(dtype=torch.float64))
    tensors = of_cameras(cameras) | of_patches(patches)
    tensors |= {"c2w": cam2world(cameras), "f64.c2w": cam2world(double)}
    tensors["origin"] = spherical_to_cartesian(cameras.angles[:, 0], cameras.angles[:, 1], cameras.radius)
    for prefix, (origins, directions) in {"full": whole, "patch": part, "f64.patch": exact}.items():
        tensors |= {f"{prefix}.ray_o": origins, f"{prefix}.ray_d": directions}
    write(folder, "case01_cameras_rays", tensors, {"resolution": side})


def write_field(folder: Path) -> None:
    config = load_recording(folder).config.generator
    decoder, channels = TriplaneDecoder(config), config.plane_channels
    planes = torch.randn(2, 3 * channels, 9, 9, requires_grad=True)
    points = (1.2 * torch.rand(2, 40, 3) - 0.6).requires_grad_()
    rgb, raw = TriplaneField(planes.unflatten(1, (3, channels)), decoder, 0.7)(points)
    cotangents = {"cotangent.rgb": torch.randn_like(rgb), "cotangent.sigma": torch.randn_like(raw)}
    ((rgb * cotangents["cotangent.rgb"]).sum() + (raw * cotangents["cotangent.sigma"]).sum()).backward()
    tensors = cotangents | {"planes": planes, "coords": points, "rgb": rgb, "sigma": raw}
    tensors |= {"grad:planes": planes.grad, "grad:coords": points.grad}
    for index, layer in enumerate((decoder.hidden, decoder.output)):
        for name, value in layer.named_parameters():
            tensors[f"param:model.{index}.{name}"] = value
            tensors[f"grad:mlp.model.{index}.{name}"] = value.grad
    features = nn.functional.grid_sample(
        planes.unflatten(1, (3, channels)).flatten(0, 1),
        torch.stack([points[..., [0, 1]], points[..., [0, 2]], points[..., [1, 2]]], 1).flatten(0, 1)[:, None]
        / 0.7,
        align_corners=True,
    )
    tensors["feats_mean"] = features[:, :, 0].unflatten(0, (2, 3)).mean(dim=1).transpose(1, 2)
    write(folder, "case02_triplane_mlp", tensors, {"cube_scale": 0.7})


def write_rendering(folder: Path) -> None:
    recording, field = load_recording(folder), load_case(folder, "case02_triplane_mlp")
    camera, rays = recording.config.camera, 4 * 4
    tensors = of_cameras(some_cameras(recording, CASES)) | of_patches(some_patches(CASES))
    tensors |= {"planes": torch.randn(CASES, field["planes"].shape[1], 9, 9)}
    tensors |= {f"param:{name}": value for name, value in field.under("param:").items()}
    tensors |= {"cotangent.rgb": torch.randn(CASES, rays, 3), "cotangent.depth": torch.randn(CASES, rays, 1)}
    meta = {"ray_start": camera.t_near, "ray_end": camera.t_far, "box_size": 2 * camera.box}
    meta |= {"num_proposal_steps": 7, "num_fine_steps": 7}
    meta["variants"] = ["det_noinf", "det_noinf_lastback", "det_cutq50"]
    inputs = Case(dict(tensors), meta)
    for variant in meta["variants"]:
        seen, leaves, _ = render_case(inputs, variant, torch.float32)
        tensors |= {f"{variant}.rgb": seen.rgb, f"{variant}.depth": seen.depth}
        tensors |= {f"{variant}.wsum": seen.opacity, f"{variant}.T_final": 1 - seen.opacity.squeeze(-1)}
        loss = (seen.rgb * tensors["cotangent.rgb"]).sum() + (seen.depth * tensors["cotangent.depth"]).sum()
        loss.backward()
        tensors |= {f"{variant}.grad:{name}": leaf.grad for name, leaf in leaves.items()}
    write(folder, "case03_volume_render", tensors, meta)


def write_importance(folder: Path) -> None:
    s, weights, u = torch.rand(6, 11).sort().values, torch.rand(6, 11), torch.rand(6, 9)
    even = torch.linspace(0, 1, 9).expand(1, 6, -1)
    drawn = {
        name: sample_importance(s[None], weights[None], at)[0]
        for name, at in (("det", even), ("random", u[None]))
    }
    write(folder, "case03b_importance", {"s_coarse": s, "weights": weights, "u": u, **drawn}, {"N": 9})


def write_generator(folder: Path, recording: Recording, generator: Generator) -> None:
    z, c = torch.randn(CASES, generator.z_dim), labels(recording, CASES)
    prior, patches = some_cameras(recording, CASES), some_patches(CASES)
    points, choice = torch.rand(CASES, 30, 3) - 0.5, torch.arange(CASES)
    blocks: list[tuple[Tensor, Tensor]] = []
    hooks = [
        b.register_forward_hook(lambda *args: blocks.append(args[-1])) for b in generator.backbone.blocks
    ]
    ws = generator.mapping(z, c)
    planes = generator.planes(ws)
    for hook in hooks:
        hook.remove()
    tensors = {"z": z, "c": c, "ws": ws, "planes": planes.flatten(1, 2)}
    tensors["planes_noisenone"] = generator.backbone(ws, "none").flatten(1, 2)
    image = None
    for power, (features, share) in enumerate(blocks, start=2):
        image = share if image is None else upsample(image) + share
        tensors |= {f"act.b{2**power}.x": features, f"act.b{2**power}.img": image}
    seen = generator(z, c, prior)
    tensors |= of_cameras(prior, "cam_prior.") | of_cameras(seen.cameras) | of_patches(patches)
    tensors |= {"eval.img": seen.rgb, "eval.depth": seen.depth, "eval.depth_adapted": seen.depth_adapted}
    tensors["eval.depth_outs"] = generator.depth_adaptor(seen.depth)
    tensors["ws_psi0.4"] = generator.mapping(z, c, truncation=0.4)
    tensors["eval.img_psi0.4"] = generator.view(tensors["ws_psi0.4"], seen.cameras).rgb
    tensors |= {"density.coords": points, "density.sigma_raw": generator.field(planes)(points)[1]}
    ws = generator.mapping(z, c)
    ws.retain_grad()
    cameras = Cameras.from_flat(seen.cameras.flat().detach())
    images = recording.draw_patches(generator, ws, cameras, patches, choice)
    tensors |= {
        "train.depth_choice": choice,
        "train.img4": images,
        "train.cotangent": torch.randn_like(images),
    }
    (images * tensors["train.cotangent"]).sum().backward()
    tensors["train.grad_ws"] = ws.grad
    tensors |= recorded_gradients(generator, recording.generator_names, "G_weights", "grad:")
    write(folder, "case04_generator", tensors, {})


def write_camera_generator(folder: Path, recording: Recording, generator: Generator) -> None:
    names, like = CAMERA_GENERATOR_NAMES, "case05_camera"
    network, camera, meta = generator.camera_generator, recording.config.camera, {"kimg": 2500.0}
    meta["emd_multiplier"] = network.config.weight_ramp.at(2_500_000)
    tensors = recorded(network, names, like)
    samples = {}
    for call, count in {"run_G": CASES, "lipschitz": 17, "emd": 19, "force_mean": 23}.items():
        inputs = some_cameras(recording, count), torch.randn(count, generator.z_dim), labels(recording, count)
        samples[call] = inputs
        posterior = network(*inputs)
        tensors |= of_cameras(inputs[0], f"{call}.prior.") | of_cameras(posterior, f"{call}.post.")
        tensors |= {f"{call}.z": inputs[1], f"{call}.c": inputs[2]}
    tensors["stage.norm"], tensors["stage.raw"] = network.raw(*samples["force_mean"])
    mean = force_mean(network(*samples["force_mean"]), camera) * network.config.force_mean_weight
    tensors["force_mean.loss"] = mean
    distance = earth_movers_distance(network(*samples["emd"]).flat(), samples["emd"][0].flat())
    network.zero_grad()
    loss = network.weigh(distance, 2_500_000)
    loss.backward()
    tensors |= {"emd.per_param": distance[RECORDED_ORDER], "emd.loss": loss}
    tensors |= recorded_gradients(network, names, like, "grad:emd.")
    other = CameraGenerator(recording.penalised, camera, generator.z_dim, recording.classes)
    other.load_state_dict(network.state_dict())
    derivatives = other.derivatives(*samples["lipschitz"])
    penalty = gradient_penalty(derivatives)
    loss = other.weigh(penalty, 0)
    loss.backward()
    tensors |= {"lipschitz.abs_diag_grads": derivatives.abs(), "lipschitz.loss": loss}
    tensors["lipschitz.per_param"] = penalty[RECORDED_ORDER]
    tensors |= recorded_gradients(other, names, like, "grad:lipschitz.")
    other.config = replace(recording.penalised, residual=True)
    tensors |= of_cameras(other(*samples["force_mean"]), "residual.post.")
    write(folder, like, tensors, meta)


def write_depth_adaptor(folder: Path) -> None:
    meta = {"near": 1.2, "far": 2.3, "anneal_kimg": 4000, "selection_start_p": 0.2}
    shape = Case({"param:layers.0.weight": torch.empty(6, 1, 3, 3), "probs": torch.empty(5, 3)}, meta)
    config = recorded_adaptor(shape)
    adaptor = stirred(DepthAdaptor(config, meta["near"], meta["far"]))
    depth = (meta["near"] + (meta["far"] - meta["near"]) * torch.rand(4, 1, 10, 10)).requires_grad_()
    maps = adaptor(depth)
    cotangent = torch.randn_like(maps)
    (maps * cotangent).sum().backward()
    tensors = {"depth": depth, "outs": maps, "cotangent": cotangent, "grad:depth": depth.grad}
    tensors |= {"normalized": adaptor.normalise(depth), "eval_out": adaptor.select(maps, None)}
    for name, value in adaptor.named_parameters():
        name = name.replace("near_offset", "near_plane_offset_raw")
        tensors |= {f"param:{name}": value, f"grad:{name}": value.grad}
    at = [1000 * kimg for kimg in PROBABILITIES_AT]
    tensors["probs"] = torch.stack([selection_probabilities(config, nimg) for nimg in at])
    meta["start_p"] = [config.identity.at(nimg) for nimg in at]
    write(folder, "case06_depth_adaptor", tensors, meta)


def write_discriminator(folder: Path, recording: Recording, network: Discriminator) -> None:
    size, names = recording.config.patch.resolution, recording.discriminator_names
    images, c = torch.randn(BATCH, 4, size, size, requires_grad=True), labels(recording, BATCH)
    tensors, meta = {"img": images, "c": c}, {}
    for variant, count in {"grouped": BATCH // 4, "own": BATCH}.items():
        drawn = some_patches(count)
        repeated = (x.repeat_interleave(BATCH // count, 0) for x in (drawn.scales, drawn.offsets))
        patches = Patches(*repeated)
        seen = network(images, patches, c, with_features=True)
        tensors |= of_patches(patches, f"{variant}.patch.")
        tensors |= {f"{variant}.logits": seen.logits, f"{variant}.feats": seen.features}
    stages: list[Tensor] = []
    hooks = [b.register_forward_hook(lambda *args: stages.append(args[-1])) for b in network.blocks]
    network(images, patches, c)
    for hook in hooks:
        hook.remove()
    for power, stage in enumerate(stages):
        tensors[f"act.b{recording.config.training.resolution >> power}"] = stage
    position = network.encoding(patches)
    tensors |= {"emb828": position, "hyper": network.hyper(None, position)}
    tensors["cmap"] = network.projection(None, torch.cat([c, position], dim=1))
    weights = torch.randn_like(seen.logits), torch.randn_like(seen.features)
    tensors |= {"cotangent.logits": weights[0], "cotangent.feats": weights[1]}
    ((seen.logits * weights[0]).sum() + (seen.features * weights[1]).sum()).backward()
    tensors["grad:img"] = images.grad
    meta["gradnorm_lin"] = recorded_norms(network, names, "D_weights")
    network.zero_grad()
    logits = network(images, patches, c).logits
    (tensors["r1.grad"],) = torch.autograd.grad(logits.sum(), images, retain_graph=True)
    tensors["r1.penalty"] = losses.r1_penalty(logits, images)
    (0.5 * tensors["r1.penalty"].mean()).backward()
    meta["gradnorm_r1"] = recorded_norms(network, names, "D_weights")
    write(folder, "case07_discriminator", tensors, meta)
