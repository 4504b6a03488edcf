"""Images and videos for pretrained models: what each step does, and every mistake in one line."""

import numpy as np
import PIL.Image
import pytest

from mmjax.errors import UserError
from mmjax.interop.preprocess.images import pixels
from mmjax.interop.preprocess.images.image_classes import CLASSES
from mmjax.interop.preprocess.images.processor import image_processor

CLIP = {"image_processor_type": "CLIPImageProcessor"}
PLAIN = {"image_processor_type": "ViTImageProcessor", "do_resize": False}
MEAN = np.float32([0.48145466, 0.4578275, 0.40821073])
STD = np.float32([0.26862954, 0.26130258, 0.27577711])


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_clip_step_by_step():
    x = noise(300, 448, 3)
    resized = np.asarray(PIL.Image.fromarray(x).resize((334, 224), PIL.Image.Resampling.BICUBIC))
    cropped = resized[:, 55:279].astype(np.float32) / 255
    expected = np.transpose((cropped - MEAN) / STD, (2, 0, 1))
    (actual,) = image_processor(CLIP)([x])["pixel_values"]
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_no_steps_at_all_gives_the_bytes():
    x = noise(4, 5, 3)
    config = PLAIN | {"do_rescale": False, "do_normalize": False}
    (actual,) = image_processor(config)([x])["pixel_values"]
    np.testing.assert_array_equal(actual, np.transpose(x, (2, 0, 1)))
    assert actual.dtype == np.float32


def test_grey_is_three_equal_channels_and_what_is_transparent_keeps_its_colour():
    grey, colours = noise(4, 5), noise(4, 5, 4)
    config = PLAIN | {"do_rescale": False, "do_normalize": False}
    process = image_processor(config)
    (actual,) = process([grey])["pixel_values"]
    np.testing.assert_array_equal(actual, np.broadcast_to(grey, (3, 4, 5)))
    (actual,) = process([PIL.Image.fromarray(colours, "RGBA")])["pixel_values"]
    np.testing.assert_array_equal(actual, np.transpose(colours[..., :3], (2, 0, 1)))


@pytest.mark.parametrize(
    ("have", "want", "nearest", "kept"),
    [
        (7, 4, False, [1, 2, 3, 4]),
        (7, 4, True, [2, 3, 4, 5]),
        (5, 4, True, [0, 1, 2, 3]),
        (2, 5, False, [None, None, 0, 1, None]),
        (2, 5, True, [None, 0, 1, None, None]),
    ],
)
def test_centre_crop(have, want, nearest, kept):
    x = np.tile(np.arange(1, have + 1, dtype=np.uint8), (3, 1))
    cut = pixels.centre_crop(3, want, nearest=nearest)(PIL.Image.fromarray(x))
    expected = [0 if place is None else place + 1 for place in kept]
    np.testing.assert_array_equal(np.asarray(cut), np.tile(expected, (3, 1)))


def test_padding_of_any_colour():
    x = PIL.Image.new("RGB", (2, 1), (9, 9, 9))
    cut = np.asarray(pixels.centre_crop(1, 4, nearest=True, fill=(1, 2, 3))(x))
    np.testing.assert_array_equal(cut[0], [[1, 2, 3], [9, 9, 9], [9, 9, 9], [1, 2, 3]])


@pytest.mark.parametrize("size", [(10, 10), (7, 90), (301, 44), (1, 1)])
def test_patches_hold_the_image_row_by_row(size):
    config = {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 4}
    config |= {"max_num_patches": 30, "do_rescale": False, "do_normalize": False}
    out = image_processor(config)([noise(*size, 3)])
    rows, columns = out["spatial_shapes"][0]
    count = rows * columns
    assert 0 < count <= 30
    np.testing.assert_array_equal(out["pixel_attention_mask"][0], np.arange(30) < count)
    assert not out["pixel_values"][0, count:].any()
    patches = out["pixel_values"][0, :count].reshape(rows, columns, 4, 4, 3)
    whole = patches.transpose(0, 2, 1, 3, 4).reshape(rows * 4, columns * 4, 3)
    resized = PIL.Image.fromarray(noise(*size, 3)).resize((columns * 4, rows * 4), 2)
    np.testing.assert_array_equal(whole, resized)


def test_a_video_is_its_frames():
    config = {"image_processor_type": "VideoMAEImageProcessor", "size": 20, "crop_size": 16}
    frames = noise(5, 24, 30, 3)
    process = image_processor(config)
    out = process([frames, list(frames)])["pixel_values"]
    assert out.shape == (2, 5, 3, 16, 16)
    np.testing.assert_array_equal(out[0], out[1])
    (alone,) = process([frames[3:4]])["pixel_values"]
    np.testing.assert_array_equal(alone[0], out[0, 3])


def test_vivit_is_minus_one_to_one():
    config = {"image_processor_type": "VivitImageProcessor", "do_normalize": False}
    video = np.stack([np.zeros((9, 9, 3), np.uint8), np.full((9, 9, 3), 255, np.uint8)])
    (out,) = image_processor(config)([video])["pixel_values"]
    np.testing.assert_allclose(out[:, 0, 0, 0], [-1, 1], atol=1e-6)


@pytest.mark.parametrize(
    "other",
    [
        {"image_processor_type": "CLIPImageProcessorFast"},
        {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224},
        {"processor_class": "CLIPProcessor", "image_processor": CLIP},
        CLIP | {"do_convert_rgb": True, "do_pad": False, "pad_size": None, "resample": None},
        {"preprocess_cfg": {}},
    ],
)
def test_the_same_said_otherwise(other):
    x = [noise(100, 200, 3)]
    expected = image_processor(CLIP)(x)["pixel_values"]
    np.testing.assert_array_equal(image_processor(other)(x)["pixel_values"], expected)


def test_open_clip_takes_the_size_of_its_backbone():
    config = {"model_cfg": {"vision_cfg": {"image_size": 96}}, "preprocess_cfg": {"size": 224}}
    assert image_processor(config)([noise(9, 9, 3)])["pixel_values"].shape == (1, 3, 96, 96)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_class_works_by_its_name_alone(name):
    frame = noise(30, 40, 3)
    value = frame[None] if name.startswith("Vi") and "ViT" not in name else frame
    out = image_processor({"image_processor_type": name})([value])
    assert all(np.isfinite(array).all() for array in out.values())


BAD_CONFIGS = [
    ({}, "none of image_processor_type"),
    ({"image_processor_type": "LlavaImageProcessor"}, "CLIPImageProcessor"),
    ({"feature_extractor_type": "WhisperFeatureExtractor"}, "unknown image processor"),
    (CLIP | {"do_pad": True}, "unknown key 'do_pad'"),
    (CLIP | {"crop_pct": 0.9}, "unknown key 'crop_pct'"),
    (CLIP | {"do_resize": 1}, "true or false"),
    (CLIP | {"data_format": "channels_last"}, "channels_first"),
    (CLIP | {"size": {"longest_edge": 9}}, "size cannot be"),
    (CLIP | {"size": 0}, "size cannot be 0"),
    (CLIP | {"size": {"shortest_edge": "224"}}, "size cannot be '224'"),
    (CLIP | {"crop_size": [1, 2, 3]}, "crop_size cannot be"),
    (CLIP | {"resample": 9}, "filters 0 to 5"),
    (CLIP | {"resample": "bicubic"}, "filters 0 to 5"),
    (CLIP | {"image_std": [1, 0, 1]}, "image_std must be three positive"),
    (CLIP | {"image_mean": [1, 2]}, "image_mean must be three numbers"),
    (CLIP | {"rescale_factor": "x"}, "rescale_factor must be a positive"),
    ({"video_processor_type": "VivitVideoProcessor", "do_rescale": False}, "offset needs"),
    ({"preprocess_cfg": {"crop": 1}}, "unknown keys crop"),
    ({"preprocess_cfg": {"mode": "L"}}, "mode must be RGB"),
    ({"preprocess_cfg": {"resize_mode": "tall"}}, "longest, shortest, squash"),
    ({"preprocess_cfg": {"fill_color": -1}}, "fill_color"),
    ({"input_size": [1, 28, 28]}, "input_size must be"),
    ({"input_size": [3, 28, 28], "crop_mode": "corner"}, "border, center, squash"),
    ({"input_size": [3, 28, 28], "crop_pct": -1}, "crop_pct"),
    ({"resize_size": 256, "flip": True}, "unknown keys flip"),
]


@pytest.mark.parametrize(("config", "part"), BAD_CONFIGS)
def test_configurations_that_are_not_understood(config, part):
    with pytest.raises(UserError, match=part) as caught:
        image_processor(config)
    assert "\n" not in str(caught.value)


BAD_IMAGES = [
    ([], "empty"),
    ("x.png", "list of images"),
    (np.zeros((9, 9, 3), np.uint8), "list of images"),
    ([3], "not int"),
    (["missing.png"], "no such file"),
    ([np.zeros((9, 9, 3))], "float64, not uint8"),
    ([np.zeros((9, 9, 4), np.uint8)], "shape \\[9, 9, 4\\]"),
    ([np.zeros((0, 9, 3), np.uint8)], "shape \\[0, 9, 3\\]"),
    ([PIL.Image.new("RGB", (0, 4))], "empty, 4 x 0"),
    ([PIL.Image.new("I;16", (4, 4))], "over 8 bits"),
    ([PIL.Image.new("RGB", (1, 10000))], "less extreme"),
]


@pytest.mark.parametrize(("images", "part"), BAD_IMAGES)
def test_what_is_not_an_image(images, part):
    with pytest.raises(UserError, match=part) as caught:
        image_processor(CLIP)(images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("videos", "part"),
    [
        (np.zeros((4, 9, 9, 3), np.uint8), "list of videos"),
        ([np.zeros((9, 9, 3), np.uint8)], "video of shape"),
        (["x.mp4"], "cannot be one str"),
        ([[]], "without frames"),
        ([np.zeros((2, 9, 9, 3), np.uint8), np.zeros((3, 9, 9, 3), np.uint8)], "videos come out"),
    ],
)
def test_what_is_not_a_video(videos, part):
    with pytest.raises(UserError, match=part):
        image_processor({"image_processor_type": "VideoMAEImageProcessor"})(videos)


def test_damaged_files_and_uneven_sizes(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    PIL.Image.fromarray(noise(64, 64, 3)).save(tmp_path / "cut.png")
    data = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    for name, part in [("text.png", "not an image"), ("cut.png", "cannot be read")]:
        with pytest.raises(UserError, match=part):
            image_processor(CLIP)([tmp_path / name])
    with pytest.raises(UserError, match="different shapes"):
        image_processor(PLAIN)([noise(4, 5, 3), noise(5, 4, 3)])
    process = image_processor({"image_processor_type": "Siglip2ImageProcessor", "do_resize": False})
    with pytest.raises(UserError, match="at most 256 patches of 16 x 16"):
        process([noise(33, 32, 3)])
