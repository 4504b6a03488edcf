"""The table of tasks: what may be asked of a model."""

from mmjax.tasks.alignment import ALIGNMENT
from mmjax.tasks.classification import CLASSIFICATION
from mmjax.tasks.multilabel import MULTILABEL
from mmjax.tasks.regression import REGRESSION
from mmjax.tasks.transcription import TRANSCRIPTION

TASKS = {
    "alignment": ALIGNMENT,
    "classification": CLASSIFICATION,
    "multilabel": MULTILABEL,
    "regression": REGRESSION,
    "transcription": TRANSCRIPTION,
}
