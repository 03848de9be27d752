"""Augmentations: torchvision's pixels for the same parameters, one draw for a whole clip."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, InterpolationMode
from torchvision.transforms import functional as F
from torchvision.transforms.autoaugment import _apply_op

from ferbench.errors import UsageError
from ferbench.feeding import AUGMENTATIONS, check_augmentations, colour, geometry
from ferbench.feeding import autoaugment as aa
from ferbench.training.recipe import Choice

EVERY = {
    "random-crop": {"padding": 4}, "random-resized-crop": {}, "flip": {}, "rotation": {"degrees": 20},
    "random-erasing": {"p": 1.0, "value": "random"}, "color-jitter": {"brightness": 0.4, "contrast": 0.4,
    "saturation": 0.4, "hue": 0.1}, "grey": {"p": 0.5}, "gaussian-blur": {}, "autoaugment-cifar": {},
    "resize": {"size": [20, 30]},
}  # fmt: skip


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """(3, 40, 48, 3): smooth, with noise on it, so that rounding shows."""
    rng = np.random.default_rng(5)
    small = rng.integers(0, 256, (3, 5, 6, 3), dtype=np.uint8)
    large = np.stack([np.asarray(Image.fromarray(frame).resize((48, 40), Image.Resampling.BICUBIC)) for frame in small])
    return np.clip(large + rng.integers(-9, 10, large.shape), 0, 255).astype(np.uint8)


def by_frame(clip: np.ndarray, change) -> np.ndarray:
    """torchvision's function on each frame as a picture."""
    return np.stack([np.asarray(change(Image.fromarray(frame))) for frame in clip])


def test_there_is_an_example_of_every_augmentation():
    assert set(EVERY) == set(AUGMENTATIONS)


@pytest.mark.parametrize("name", EVERY)
def test_equal_frames_stay_equal_and_the_seed_decides(clip, name):
    still = np.repeat(clip[:1], 4, axis=0)
    seen = set()
    for seed in range(12):
        before = still.copy()
        done = AUGMENTATIONS[name](still, np.random.default_rng(seed), **EVERY[name])
        again = AUGMENTATIONS[name](still, np.random.default_rng(seed), **EVERY[name])
        assert (done.dtype, done.shape[0], done.shape[3]) == (np.uint8, 4, 3)
        assert all(np.array_equal(frame, done[0]) for frame in done)
        assert np.array_equal(done, again)
        assert np.array_equal(still, before)
        seen.add(done.tobytes())
    assert len(seen) > 1 or name == "resize"


@pytest.mark.parametrize("name", EVERY)
def test_a_frame_is_treated_as_it_would_be_alone(clip, name):
    for seed in range(6):
        together = AUGMENTATIONS[name](clip, np.random.default_rng(seed), **EVERY[name])
        alone = [AUGMENTATIONS[name](clip[k : k + 1], np.random.default_rng(seed), **EVERY[name])[0] for k in range(3)]
        assert np.array_equal(together, np.stack(alone))


@pytest.mark.parametrize("factor", [0.0, 0.31, 0.9, 1.0, 1.37, 2.6])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (colour.brightened, F.adjust_brightness),
        (colour.contrasted, F.adjust_contrast),
        (colour.saturated, F.adjust_saturation),
    ],
)
def test_colours_are_torchvisions_to_the_last_bit(clip, ours, theirs, factor):
    assert np.array_equal(ours(clip, factor), by_frame(clip, lambda picture: theirs(picture, factor)))


@pytest.mark.parametrize("shift", [-0.5, -0.21, 0.0, 0.004, 0.13, 0.5])
def test_a_turned_hue_is_torchvisions(clip, shift):
    assert np.array_equal(colour.hue_shifted(clip, shift), by_frame(clip, lambda picture: F.adjust_hue(picture, shift)))


def test_grey_is_torchvisions(clip):
    done = AUGMENTATIONS["grey"](clip, np.random.default_rng(0), p=1.0)
    assert np.array_equal(done, by_frame(clip, lambda picture: F.to_grayscale(picture, 3)))


def test_a_rotation_is_torchvisions(clip):
    for angle in (-170.0, -4.0, 0.3, 11.0, 90.0):
        done = AUGMENTATIONS["rotation"](clip, np.random.default_rng(0), degrees=[angle, angle])
        assert np.array_equal(done, by_frame(clip, lambda picture, angle=angle: F.rotate(picture, angle)))


def test_a_blur_is_torchvisions_within_rounding(clip):
    for sigma in (0.2, 1.1, 2.0):
        done = AUGMENTATIONS["gaussian-blur"](clip, np.random.default_rng(0), kernel_size=5, sigma=[sigma, sigma])
        planes = torch.from_numpy(clip).permute(0, 3, 1, 2)
        theirs = F.gaussian_blur(planes, [5, 5], [sigma, sigma]).permute(0, 2, 3, 1).numpy()
        assert np.abs(done.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize(("resize", "near"), [("pil-bilinear", 1), ("pil-bicubic", 2)])
def test_a_resized_crop_has_pillows_pixels_but_for_rounding(clip, resize, near):
    box = geometry.crop_box(40, 48, np.random.default_rng(3), scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3))
    done = AUGMENTATIONS["random-resized-crop"](clip, np.random.default_rng(3), size=[16, 20], resize=resize)
    how = InterpolationMode.BILINEAR if resize == "pil-bilinear" else InterpolationMode.BICUBIC
    theirs = by_frame(clip, lambda picture: F.resized_crop(picture, *box, [16, 20], interpolation=how))
    assert done.shape == theirs.shape
    off = np.abs(done.astype(int) - theirs)
    assert off.max() <= near
    assert off.mean() < 0.4


def test_crop_boxes_are_spread_as_torchvisions():
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    picture = torch.zeros(3, 90, 70)
    theirs = np.array([RandomResizedCrop.get_params(picture, [0.3, 0.9], [0.5, 2.0]) for _ in range(4000)])
    rng = np.random.default_rng(0)
    ours = np.array([geometry.crop_box(90, 70, rng, scale=(0.3, 0.9), ratio=(0.5, 2.0)) for _ in range(4000)])
    error = np.sqrt(theirs.var(axis=0) / 2000)  # of a difference of two means of 4000
    assert np.all(np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 5 * error)
    assert np.allclose(np.percentile(ours, [5, 50, 95], axis=0), np.percentile(theirs, [5, 50, 95], axis=0), atol=3)
    assert np.all(ours[:, :2] >= 0)
    assert np.all(ours[:, :2] + ours[:, 2:] <= [90, 70])


@pytest.mark.parametrize(("height", "width", "expected"), [(10, 200, (0, 93, 10, 13)), (200, 10, (93, 0, 13, 10))])
def test_a_strip_that_no_crop_fits_in_gives_its_middle(height, width, expected):
    found = geometry.crop_box(height, width, np.random.default_rng(0), scale=(0.9, 1.0), ratio=(3 / 4, 4 / 3))
    assert found == expected


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_a_crop_box_never_leaves_the_frame(height, width, seed):
    top, left, h, w = geometry.crop_box(
        height, width, np.random.default_rng(seed), scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)
    )
    assert min(top, left) >= 0
    assert min(h, w) >= 1
    assert (top + h <= height, left + w <= width) == (True, True)


def test_a_random_crop_takes_every_place_of_the_padded_frame():
    frames = np.arange(1, 17, dtype=np.uint8).reshape(1, 4, 4, 1).repeat(3, axis=3)
    padded = np.pad(frames, ((0, 0), (1, 1), (1, 1), (0, 0)))
    every = {padded[:, top : top + 4, left : left + 4].tobytes() for top in range(3) for left in range(3)}
    found = {AUGMENTATIONS["random-crop"](frames, np.random.default_rng(k), padding=1).tobytes() for k in range(200)}
    assert found == every


def test_a_random_crop_of_frames_that_are_too_small_enlarges_them_first(clip):
    done = AUGMENTATIONS["random-crop"](clip, np.random.default_rng(0), size=[64, 64])
    assert np.array_equal(done, geometry.resized(clip, (64, 64)))


def test_flip_turns_left_to_right_half_of_the_time(clip):
    done = [AUGMENTATIONS["flip"](clip, np.random.default_rng(seed)) for seed in range(400)]
    turned = [np.array_equal(frames, clip[:, :, ::-1]) for frames in done]
    assert all(is_turned or np.array_equal(frames, clip) for is_turned, frames in zip(turned, done, strict=True))
    assert 160 <= sum(turned) <= 240
    assert np.array_equal(AUGMENTATIONS["flip"](clip, np.random.default_rng(0), p=1.0), clip[:, :, ::-1])
    assert np.array_equal(AUGMENTATIONS["flip"](clip, np.random.default_rng(0), p=0.0), clip)


def test_an_erased_box_is_one_box_of_the_area_that_was_asked_for(clip):
    for seed in range(30):
        done = AUGMENTATIONS["random-erasing"](
            clip, np.random.default_rng(seed), p=1.0, scale=[0.1, 0.2], ratio=[0.5, 2.0], value=7
        )
        rows, columns = np.nonzero(np.any(done != clip, axis=(0, 3)))
        box = done[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert np.all(box == 7)
        assert 0.08 <= box.shape[1] * box.shape[2] / (40 * 48) <= 0.22


def test_the_policies_of_autoaugment_are_torchvisions():
    names = {
        "translate-x": "TranslateX",
        "translate-y": "TranslateY",
        "shear-y": "ShearY",
        "autocontrast": "AutoContrast",
    }
    theirs = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
    # An operation without a magnitude has None there.
    without = {"Invert", "Equalize", "AutoContrast"}
    ours = [
        tuple((name, p, None if name in without else level) for name, p, level in named)
        for named in (
            [(names.get(name, name.capitalize()), p, level) for name, p, level in policy]
            for policy in aa.CIFAR_POLICIES
        )
    ]
    assert [tuple(tuple(step) for step in policy) for policy in theirs] == ours


@pytest.mark.parametrize("is_negative", [False, True])
@pytest.mark.parametrize(
    ("name", "level"), sorted({(name, level) for policy in aa.CIFAR_POLICIES for name, _, level in policy})
)
def test_the_operations_of_autoaugment_are_torchvisions(clip, name, level, is_negative):
    names = {
        "translate-x": "TranslateX",
        "translate-y": "TranslateY",
        "shear-y": "ShearY",
        "autocontrast": "AutoContrast",
    }
    theirs = names.get(name, name.capitalize())
    space = AutoAugment(AutoAugmentPolicy.CIFAR10)._augmentation_space(10, (40, 48))
    magnitudes, signed = space[theirs]
    amount = float(magnitudes[level]) if magnitudes.ndim else 0.0
    amount = -amount if signed and is_negative else amount
    assert aa.magnitude(name, level, 48, 40, is_negative=is_negative) == pytest.approx(amount, abs=1e-4)
    expected = by_frame(clip, lambda picture: _apply_op(picture, theirs, amount, InterpolationMode.NEAREST, None))
    assert np.array_equal(aa.operated(clip, name, amount), expected)


def test_jitter_of_nothing_changes_nothing_and_each_setting_keeps_its_draw(clip):
    assert np.array_equal(AUGMENTATIONS["color-jitter"](clip, np.random.default_rng(0)), clip)
    only = AUGMENTATIONS["color-jitter"](clip, np.random.default_rng(1), brightness=0.5)
    rng = np.random.default_rng(1)
    rng.permutation(4)
    assert np.array_equal(only, colour.brightened(clip, rng.uniform(0.5, 1.5)))


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice("flop"), "no augmentation 'flop'; did you mean 'flip'"),
        (Choice("flip", {"q": 1}), "augment flip: no setting 'q'; it takes p"),
        (Choice("autoaugment-cifar", {"q": 1}), "it takes no settings"),
        (Choice("flip", {"p": 1.5}), "augment flip: p is a probability"),
        (Choice("random-resized-crop", {"scale": [1.0, 0.1]}), "scale is two numbers from"),
        (Choice("random-resized-crop", {"ratio": 2}), "ratio is two numbers from"),
        (Choice("random-crop", {"padding": -1}), "padding is a number of pixels"),
        (Choice("random-crop", {"size": 0}), "size is a side or"),
        (Choice("rotation", {"degrees": "many"}), "augment rotation"),
        (Choice("color-jitter", {"hue": 0.6}), "hue is two numbers from -0.5 to 0.5"),
        (Choice("color-jitter", {"brightness": -1}), "brightness cannot be negative"),
        (Choice("gaussian-blur", {"kernel_size": 4}), "kernel-size is an odd number"),
        (Choice("random-erasing", {"value": 300}), "value is 0..255"),
    ],
)
def test_what_cannot_be_is_refused_before_training(choice, said):
    with pytest.raises(UsageError) as caught:
        check_augmentations((Choice("flip"), choice))
    assert said in caught.value.message


def test_every_example_is_allowed():
    check_augmentations(tuple(Choice(name, values) for name, values in EVERY.items()))
