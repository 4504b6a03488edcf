"""The tables of metrics."""

from mmjax.metrics import (
    classification,
    dataset_metrics,
    regression,
    representation,
    retrieval,
    text,
    vqa,
)

# One value for each row, on the devices; averaged exactly.
ROW_METRICS = {
    "accuracy": classification.accuracy,
    "agreement": representation.agreement,
    "brier": classification.brier,
    "cosine_consistency": representation.cosine,
    "exact_match": classification.exact_match,
    "hamming": classification.hamming,
    "top_k": classification.top_k,
    "vqa_accuracy": vqa.soft_accuracy,
}
# The whole set at once, on the host.
DATASET_METRICS = {
    "alignment": representation.alignment,
    "average_precision": dataset_metrics.average_precision,
    "bleu": text.bleu,
    "calibration_error": dataset_metrics.expected_calibration_error,
    "character_error_rate": text.character_error_rate,
    "cider": text.cider,
    "cka": representation.cka,
    "feature_correlation": representation.feature_correlation,
    "modality_gap": representation.modality_gap,
    "multilabel_average_precision": dataset_metrics.multilabel_average_precision,
    "multilabel_precision_recall_f1": dataset_metrics.multilabel_precision_recall_f1,
    "multilabel_roc_auc": dataset_metrics.multilabel_roc_auc,
    "precision_recall_f1": dataset_metrics.precision_recall_f1,
    "regression": regression.regression,
    "retrieval": retrieval.retrieval,
    "roc_auc": dataset_metrics.roc_auc,
    "uniformity": representation.uniformity,
    "word_error_rate": text.word_error_rate,
}
METRICS = ROW_METRICS | DATASET_METRICS
# Of texts that several people wrote: for Python, until a data set has them.
TEXT_METRICS = {"vqa_answers": vqa.soft_accuracy_of_answers}
