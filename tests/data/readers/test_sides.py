import io

import numpy as np
import PIL.Image
import pytest

from mmjax.data.readers import sides
from mmjax.errors import UserError
from tests.data.own.readers import mp4


def test_the_longer_side_of_files_and_arrays(tmp_path):
    image = PIL.Image.fromarray(np.zeros((3, 5, 3), np.uint8))
    image.save(tmp_path / "a.png")
    moving = io.BytesIO()
    image.save(moving, "GIF", save_all=True, append_images=[image.convert("L")])
    assert sides.of_image(tmp_path / "a.png") == 5
    assert sides.of_image(np.zeros((7, 2, 3), np.uint8)) == 7
    assert sides.of_video(mp4(2, width=32)) == sides.of_video(mp4(2, height=32)) == 32
    assert sides.of_video(moving.getvalue()) == 5
    assert sides.of_video(np.zeros((9, 2, 4, 3), np.uint8)) == 4


@pytest.mark.parametrize("of", [sides.of_image, sides.of_video])
def test_what_is_no_picture_is_one_line(of):
    with pytest.raises(UserError) as error:
        of(b"nothing of the kind")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"no/such/file"):
        of("no/such/file.mp4")
