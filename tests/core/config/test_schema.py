"""Configuration: presets, overrides and their errors, the JSON round trip, ramps."""

import json

import pytest

from gp3d_core.config.presets import CAMERAS, PRESETS, resolve
from gp3d_core.config.schema import ConfigError, Ramp, flatten, from_dict, to_dict


@pytest.mark.parametrize("name", PRESETS)
def test_preset_survives_json(name):
    config = resolve(name)
    assert from_dict(json.loads(json.dumps(to_dict(config))), type(config)) == PRESETS[name]


@pytest.mark.parametrize("name", PRESETS)
def test_preset_knows_its_own_name(name):
    assert PRESETS[name].preset == name


def test_ramp_is_linear_and_clamped():
    ramp = Ramp(start=2.0, end=4.0, kimg=10)
    assert [ramp.at(n) for n in (0, 5000, 10_000, 99_000)] == [2.0, 3.0, 4.0, 4.0]
    assert Ramp(start=1.0, end=7.0).at(0) == 7.0


def test_override_sets_the_named_value_and_no_other():
    config = resolve(
        "tiny", ["loss.blur.kimg=50", "training.mirror=no", "camera_generator.adjust=angles,fov"]
    )
    assert config.loss.blur.kimg == 50.0
    assert config.training.mirror is False
    assert config.camera_generator.adjust == ("angles", "fov")
    before, after = to_dict(PRESETS["tiny"]), to_dict(config)
    before["loss"]["blur"]["kimg"] = 50.0
    before["training"]["mirror"] = False
    before["camera_generator"]["adjust"] = ("angles", "fov")
    assert after == before


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("loss.blurr=1", "did you mean 'loss.blur'"),
        ("loss.blur=1", "loss.blur.kimg"),
        ("training.batch=many", "expects a whole number, found 'many'"),
        ("training.batch", "expected KEY=VALUE"),
        ("loss.adversarial=wasserstein", "one of softplus, hinge"),
        ("training.mirror=perhaps", "expects true or false"),
        ("training.resolution=48", "power of two"),
        ("patch.resolution=128", "larger than training.resolution"),
        ("training.batch=12", "not a multiple of training.micro_batch"),
        ("patch.group=3", "not a multiple of patch.group 3"),
        ("camera.t_near=3", "must lie before"),
        ("preset=foo", "use `preset`"),
        ("training.kimg=nan", "expects a number, found 'nan'"),
        ("training.kimg=inf", "expects a number, found 'inf'"),
        ("discriminator.mbstd_group=0", "of at least 1, found 0"),
        ("loss.r1_interval=0", "of at least 1, found 0"),
        ("training.status_kimg=0", "of at least 0.001"),
        ("render.coarse_steps=2", "of at least 3"),
        ("training.generator_lr=-1", "training.generator_lr expects"),
        ("training.seed=-1", "of at least 0"),
        ("loss.augmentation_probability=2", "from 0 to 1"),
        ("depth_adaptor.kernel=4", "an odd number"),
        ("depth_adaptor.layers=-1", "from 0 to 64"),
        ("generator.channel_base=8", "leaves no channel at 32 pixels"),
        ("patch.resolution=4", "at least 8"),
        ("discriminator.mbstd_group=5", "not a multiple of discriminator.mbstd_group"),
        ("camera_generator.adjust=zoom", "'zoom' is none of angles"),
        ("camera.fov.kind=truncnorm", "camera.fov.std expects a number above 0"),
    ],
)
def test_bad_override_is_one_clear_line(assignment, message):
    with pytest.raises(ConfigError, match=message) as caught:
        resolve("tiny", [assignment])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shapenet64", "did you mean 'shapenet-64'"),
        ("imagenet", "did you mean 'imagenet-256' or 'imagenet-256-paper'"),
        ("qqqq", "none is like it, and tiny is the smallest"),
        ("", "none is like it"),
    ],
)
def test_unknown_preset_suggests_the_nearest_in_one_short_line(name, said):
    with pytest.raises(ConfigError, match=f"{said}.*; gp3d presets lists all") as caught:
        resolve(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(extra=1), "no configuration key config.extra"),
        (lambda d: d.pop("loss"), "config.loss is missing"),
        (lambda d: d["training"].update(batch="8"), "training.batch expects int"),
        (lambda d: d["camera"]["yaw"].update(kind="round"), "one of constant"),
        (lambda d: d["training"].update(kimg=10**400), "training.kimg expects a number below"),
    ],
)
def test_damaged_config_names_the_key(change, message):
    data = json.loads(json.dumps(to_dict(PRESETS["tiny"])))
    change(data)
    with pytest.raises(ConfigError, match=message):
        from_dict(data)


def test_files_from_before_a_key_came_can_still_be_read():
    data = json.loads(json.dumps(to_dict(PRESETS["tiny"])))
    del data["grounding"], data["render"]["backend"], data["training"]["head_start_kimg"]
    del data["discriminator"]["depth"]
    assert from_dict(data) == PRESETS["tiny"]
    data["training"]["head_start_kimg"] = 3.0
    assert from_dict(data).training.head_start_kimg == 3.0


def test_epigraf_is_the_same_method_without_depth_and_distillation():
    """And without a camera generator, which shapenet-64 has none of either."""
    ours, theirs = flatten(PRESETS["shapenet-64"]), flatten(PRESETS["epigraf-64"])
    different = {key: value for key, value in theirs.items() if ours[key] != value}
    assert different == {
        "preset": "epigraf-64",
        "depth_adaptor.layers": 0,
        "discriminator.depth": False,
        "loss.distillation_weight.start": 0.0,
    }
    assert theirs["camera_generator.adjust"] == ()


@pytest.mark.parametrize("name", ["tiny", "shapenet-64", "epigraf-64", "shapenet-128", "shapenet-256"])
def test_object_presets_let_rays_stay_empty_on_white(name):
    render = PRESETS[name].render
    assert (render.last_interval, render.background, render.density_scale > 1) == (1e-3, "white", True)


def test_released_camera_priors():
    uniform, shapenet = CAMERAS["uniform"], CAMERAS["shapenet"]
    assert (uniform.fov.low, uniform.fov.high, uniform.look_at_radius.high) == (10.0, 45.0, 0.2)
    assert (shapenet.radius.mean, shapenet.fov.mean, shapenet.t_near, shapenet.t_far) == (
        2.0,
        40.0,
        1.45,
        2.55,
    )
