"""A published model of videos takes files, whose pictures are spread evenly over the time."""

import json

import numpy as np
import pytest

import mmjax
from experiments.fuzz import models
from mmjax.data.readers import video_file
from mmjax.errors import UserError
from tests.data.own.readers import mp4

FRAMES = 4  # of models.CONFIGS


@pytest.fixture(scope="module", params=["videomae", "vivit"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    models.write(folder, models.CONFIGS[request.param])
    (folder / "config.json").write_text(json.dumps(models.CONFIGS[request.param]))
    side = models.CONFIGS[request.param]["image_size"]
    kind = {"videomae": "VideoMAEImageProcessor", "vivit": "VivitImageProcessor"}[request.param]
    said = {"image_processor_type": kind, "size": {"shortest_edge": side}}
    said |= {"crop_size": {"height": side, "width": side}}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return mmjax.load(folder)


def test_a_file_is_its_pictures(model, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(mp4(10))
    pixels = video_file.read(path, FRAMES).pixels
    assert pixels.shape == (FRAMES, 16, 16, 3)
    found = model.embed(video=str(path))["video"]
    np.testing.assert_array_equal(found, model.embed(video=pixels)["video"])
    both = model.embed(video=[path.read_bytes(), pixels])["video"]
    np.testing.assert_allclose(both, np.repeat(found, 2, axis=0), atol=1e-6)


def test_a_file_with_too_few_pictures_is_one_line(model, tmp_path):
    path = tmp_path / "short.mp4"
    path.write_bytes(mp4(2))
    line = f"short.mp4: has 2 pictures, this model takes {FRAMES}"
    with pytest.raises(UserError, match=line):
        model.embed(video=str(path))
