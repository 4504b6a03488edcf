"""Metrics against torchmetrics and pycocoevalcap: equal to 1e-5, in float32 on their side."""

import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.metrics import classification, dataset_metrics, representation, retrieval, text

torch = pytest.importorskip("torch")
torchmetrics = pytest.importorskip("torchmetrics")

functional = torchmetrics.functional
ROWS, CLASSES = 120, 6
random = np.random.default_rng(0)
LOGITS = random.normal(size=(ROWS, CLASSES)).astype(np.float32)
TIED = np.round(LOGITS)  # few distinct values
LABELS = random.choice([0, 1, 2, 4], size=ROWS)  # 3 and 5 never occur
TARGETS = random.integers(2, size=(ROWS, CLASSES))
CAPTIONS = ["a man rides a horse", "two dogs", "the red bus on the street", "a plate of hot food"]
SAID = ["man rides the horse", "two cats and dogs", "a bus on the red street", "the food"]


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def theirs(function, *arrays, **options):
    return np.asarray(function(*map(torch.tensor, arrays), **options))


def assert_near(ours, expected):
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k(k):
    ours = classification.top_k(jnp.array(LOGITS), jnp.array(LABELS), k=k).mean()
    options = {"num_classes": CLASSES, "top_k": k, "average": "micro"}
    expected = theirs(functional.classification.multiclass_accuracy, LOGITS, LABELS, **options)
    assert_near(ours, expected)


def test_labels_right_and_wrong():
    probabilities = 1 / (1 + np.exp(-LOGITS))
    given = jnp.array(LOGITS), jnp.array(TARGETS)
    options = {"num_labels": CLASSES}
    assert_near(
        classification.exact_match(*given).mean(),
        theirs(functional.classification.multilabel_exact_match, probabilities, TARGETS, **options),
    )
    assert_near(
        1 - classification.hamming(*given).mean(),
        theirs(
            functional.classification.multilabel_hamming_distance,
            probabilities,
            TARGETS,
            average="micro",
            **options,
        ),
    )


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_precision_recall_f1(name, average):
    predicted = np.where(LOGITS[:, 3] > 0, 3, LOGITS[:, :5].argmax(axis=1))
    ours = dataset_metrics.precision_recall_f1(predicted, LABELS, average=(average,))
    function = f"multiclass_{'f1_score' if name == 'f1' else name}"
    options = {"num_classes": CLASSES, "average": average}
    expected = theirs(getattr(functional.classification, function), predicted, LABELS, **options)
    assert_near(ours[f"{name}_{average}"], expected)
    ours = dataset_metrics.multilabel_precision_recall_f1(
        1 / (1 + np.exp(-LOGITS)), TARGETS, average=(average,)
    )
    function = f"multilabel_{'f1_score' if name == 'f1' else name}"
    options = {"num_labels": CLASSES, "average": average}
    expected = theirs(getattr(functional.classification, function), LOGITS, TARGETS, **options)
    assert_near(ours[f"{name}_{average}"], expected)


@pytest.mark.parametrize("logits", [LOGITS, TIED], ids=["distinct", "tied"])
def test_ranking(logits):
    probabilities = softmax(logits)
    several = 1 / (1 + np.exp(-logits))
    of_one = {"num_classes": CLASSES, "average": "none"}
    of_several = {"num_labels": CLASSES, "average": "macro"}
    occur = [0, 1, 2, 4]  # they give classes that never occur a 0
    module = functional.classification
    expected = theirs(module.multiclass_auroc, probabilities, LABELS, **of_one)[occur]
    assert_near(dataset_metrics.roc_auc(probabilities, LABELS), expected.mean())
    expected = theirs(module.multiclass_average_precision, probabilities, LABELS, **of_one)[occur]
    assert_near(dataset_metrics.average_precision(probabilities, LABELS), expected.mean())
    expected = theirs(module.multilabel_auroc, several, TARGETS, **of_several)
    assert_near(dataset_metrics.multilabel_roc_auc(several, TARGETS), expected)
    expected = theirs(module.multilabel_average_precision, several, TARGETS, **of_several)
    assert_near(dataset_metrics.multilabel_average_precision(several, TARGETS), expected)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error(bins):
    probabilities = softmax(3 * LOGITS)
    ours = dataset_metrics.expected_calibration_error(probabilities, LABELS, bins=bins)
    options = {"num_classes": CLASSES, "n_bins": bins, "norm": "l1"}
    function = functional.classification.multiclass_calibration_error
    assert_near(ours, theirs(function, probabilities, LABELS, **options))


def test_retrieval_with_several_right_candidates():
    queries = random.normal(size=(30, 8)).astype(np.float32)
    candidates = random.normal(size=(50, 8)).astype(np.float32)
    right = random.random((30, 50)) < 0.1
    right[np.arange(30), np.arange(30)] = True
    query, candidate = np.nonzero(right)
    ours = retrieval.retrieval(
        queries[query], candidates[candidate], a_id=query, b_id=candidate, ks=(1, 5)
    )
    # Candidates that are right for no query are not among ours.
    used = right.any(axis=0)
    # They ignore what is right where a similarity is not above 0.
    similarities, right = np.exp(queries @ candidates.T)[:, used], right[:, used]
    module = functional.retrieval
    rows = list(zip(similarities, right, strict=True))
    for k in (1, 5):
        hits = [theirs(module.retrieval_hit_rate, s, r, top_k=k) for s, r in rows]
        assert_near(ours[f"recall_at_{k}/a_to_b"], np.mean(hits))
    precisions = [theirs(module.retrieval_average_precision, s, r) for s, r in rows]
    assert_near(ours["mean_average_precision/a_to_b"], np.mean(precisions))
    reciprocals = [theirs(module.retrieval_reciprocal_rank, s, r) for s, r in rows]
    ranks = retrieval.ranks(queries, candidates[used], right)
    assert_near(1 / ranks, np.array(reciprocals))


def test_cosine():
    a, b = LOGITS, TARGETS.astype(np.float32) - 0.5
    expected = theirs(torch.nn.functional.cosine_similarity, a, b)
    assert_near(representation.cosine(jnp.array(a), jnp.array(b)), expected)


def test_error_rates():
    module = functional.text
    assert_near(text.word_error_rate(CAPTIONS, SAID), module.word_error_rate(SAID, CAPTIONS))
    assert_near(text.character_error_rate(CAPTIONS, SAID), module.char_error_rate(SAID, CAPTIONS))


def test_bleu():
    references = [[caption, caption[::-1]] for caption in CAPTIONS]
    references[1] = references[1][:1]
    said = [*CAPTIONS[:2], *SAID[2:]]
    assert_near(text.bleu(references, said), 100 * functional.text.bleu_score(said, references))


@pytest.mark.parametrize("seed", range(5))
def test_cider(seed):
    cider = pytest.importorskip("pycocoevalcap.cider.cider")
    rng = np.random.default_rng(seed)
    vocabulary = ["a", "man", "dog", "rides", "the", "red", "bus", "on", "two", "street"]

    def sentence():
        return " ".join(rng.choice(vocabulary, rng.integers(0, 12)))

    references = [[sentence() for _ in range(rng.integers(1, 6))] for _ in range(20)]
    said = [sentence() for _ in range(20)]
    expected, _ = cider.Cider().compute_score(
        dict(enumerate(references)), {place: [words] for place, words in enumerate(said)}
    )
    np.testing.assert_allclose(text.cider(references, said), expected, rtol=1e-9)
