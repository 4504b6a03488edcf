"""The TFDS builder: files of the PyPI package easy_vqa in, ArrayRecord out."""

from collections import defaultdict
from collections.abc import Iterator

import easy_vqa
import numpy as np
import tensorflow_datasets as tfds

QUESTION_TYPES = ("yes_no", "color", "shape")
# The first words of a question that asks for a color or a shape; all others are yes/no.
_TYPE_OF_OPENING = (("what color is", "color"), ("what is the color", "color"), ("what", "shape"))
_TRAINING_SHARE = (9, 10)  # of the official training images, in the order of their ids


def question_type(question: str) -> str:
    """Says what `question` asks for, one of `QUESTION_TYPES`."""
    for opening, kind in _TYPE_OF_OPENING:
        if question.startswith(opening):
            return kind
    return "yes_no"


class EasyVqa(tfds.core.GeneratorBasedBuilder):
    """One example an image: the picture, its id and all questions asked about it.

    Features: `image` uint8 [64 64 3]; `image_id` int64; `questions`, a sequence of `question`
    (text), `answer` (one of 13 classes) and `type` (one of three). `train` and `validation` are the
    first nine tenths and the last tenth of the official training images, so no image is in both;
    `test` is the official test set.

    References:
        Victor Zhou, easy-VQA, https://github.com/vzhou842/easy-VQA
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        questions = tfds.features.Sequence(
            {
                "question": tfds.features.Text(),
                "answer": tfds.features.ClassLabel(names=easy_vqa.get_answers()),
                "type": tfds.features.ClassLabel(names=QUESTION_TYPES),
            }
        )
        image = tfds.features.Image(shape=(64, 64, 3), encoding_format="png")
        features = {
            "image": image,
            "image_id": tfds.features.Scalar(dtype=np.int64),
            "questions": questions,
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        del dl_manager
        training = easy_vqa.get_train_image_paths(), _by_image(*easy_vqa.get_train_questions())
        test = easy_vqa.get_test_image_paths(), _by_image(*easy_vqa.get_test_questions())
        ids = sorted(training[0])
        cut = len(ids) * _TRAINING_SHARE[0] // _TRAINING_SHARE[1]
        return {
            "train": self._generate_examples(*training, ids[:cut]),
            "validation": self._generate_examples(*training, ids[cut:]),
            "test": self._generate_examples(*test, sorted(test[0])),
        }

    def _generate_examples(
        self, paths: dict[int, str], questions: dict[int, list], ids: list[int]
    ) -> Iterator[tuple[int, dict]]:
        for image_id in ids:
            # A path, not pixels: TFDS then stores the PNG file as it is, which takes no time.
            image = paths[image_id]
            asked = questions[image_id]
            yield image_id, {"image": image, "image_id": image_id, "questions": asked}


def _by_image(questions: list[str], answers: list[str], ids: list[int]) -> dict[int, list[dict]]:
    by_image = defaultdict(list)
    for question, answer, image_id in zip(questions, answers, ids, strict=True):
        entry = {"question": question, "answer": answer, "type": question_type(question)}
        by_image[image_id].append(entry)
    return by_image
