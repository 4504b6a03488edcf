"""Heads that files have: logits as transformers gives them, in every architecture, and back."""

import numpy as np
import pytest

from tests.parity.interop import published

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = published.SIZES
PICTURE = SIZES | {"image_size": 8, "patch_size": 4}
WORDS = SIZES | {"vocab_size": 30, "max_position_embeddings": 20, "pad_token_id": 1}
SHORT = {"dim": 12, "n_heads": 3, "n_layers": 2, "hidden_dim": 20, "vocab_size": 30}
SPEECH = SIZES | {
    "conv_dim": (8, 8),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 7,
}
DUAL = {"vision_config": PICTURE, "text_config": WORDS}
NAFLEX = {"vision_config": SIZES | {"patch_size": 4, "num_patches": 4}, "text_config": WORDS}
LABELS = 5


def pixels(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=shape)).float()


def texts():
    ids = torch.tensor(np.random.default_rng(1).integers(2, 30, (2, 9)))
    mask = torch.ones_like(ids)
    ids[1, 6:], mask[1, 6:] = 1, 0
    return {"input_ids": ids, "attention_mask": mask}


def sounds():
    mask = torch.ones(2, 400, dtype=torch.long)
    mask[1, 250:] = 0
    return {"input_values": pixels(2, 400) * mask, "attention_mask": mask}


def patches():
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]])
    shapes = torch.tensor([[2, 3], [1, 2]])
    values = pixels(2, 6, 48) * mask[..., None]
    return {"pixel_values": values, "pixel_attention_mask": mask, "spatial_shapes": shapes}


def picture():
    return {"pixel_values": pixels(2, 3, 8, 8)}


CASES = {
    "BertForSequenceClassification": (WORDS, texts),
    "BertForTokenClassification": (WORDS, texts),
    "BertForQuestionAnswering": (WORDS, texts),
    "RobertaForSequenceClassification": (WORDS, texts),
    "RobertaForTokenClassification": (WORDS, texts),
    "XLMRobertaForSequenceClassification": (WORDS, texts),
    "CamembertForSequenceClassification": (WORDS, texts),
    "DistilBertForSequenceClassification": (SHORT, texts),
    "DistilBertForTokenClassification": (SHORT, texts),
    "DistilBertForQuestionAnswering": (SHORT, texts),
    "CLIPForImageClassification": (DUAL, picture),
    "SiglipForImageClassification": (DUAL, picture),
    "Siglip2ForImageClassification": (NAFLEX, patches),
    "Dinov2WithRegistersForImageClassification": (PICTURE, picture),
    "Wav2Vec2ForSequenceClassification": (SPEECH, sounds),
}


def drawn(name, options=None):
    """A model of transformers with its head, drawn."""
    theirs = getattr(transformers, name)
    spans = name.endswith("QuestionAnswering")
    config = theirs.config_class(**CASES[name][0], num_labels=2 if spans else LABELS)
    for key, value in (options or {}).items():
        setattr(config, key, value)
    return published.randomise(torch, theirs(config))


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_head_of_a_file_answers_as_its_library(name, tmp_path):
    published.check(torch, drawn(name), CASES[name][1](), tmp_path)


def test_a_learned_mean_of_layers_is_classified(tmp_path):
    theirs = drawn("Wav2Vec2ForSequenceClassification", {"use_weighted_layer_sum": True})
    published.check(torch, theirs, sounds(), tmp_path)
