"""Video vision transformer (Arnab et al. 2021, https://arxiv.org/abs/2103.15691)."""

from collections.abc import Mapping

import flax.linen as nn
from jaxtyping import Array

from mmjax.backbones.vision import vivit
from mmjax.encoders.video.tubelets import TubeletEncoder
from mmjax.nn.layers.options import choose
from mmjax.types import Tokens

# Whether a learned token speaks for a sequence, or the mean of the real ones.
SUMMARIES: Mapping[str, bool] = {"class": True, "mean": False}
# Whether all tokens come out, or the summary.
OUTPUTS: Mapping[str, bool] = {"sequence": True, "summary": False}


class Vivit(TubeletEncoder):
    """uint8 clips [R T H W 3] -> a token for each tubelet ("joint") or each time ("factorised").

    A shorter clip than at initialisation uses the first positions in time; for frames of another
    size the positions in space are interpolated. The class token has no position of its own, as the
    sum of both would be one vector. The paper's ViViT-B/16x2 is size "B", patch_size 16.

    Attributes:
        layers, heads: of the joint or of the spatial transformer. None: as `size` says; without a
            size 4 and 4. The temporal transformer has as many heads.
        model: "joint" (space-time attention over all tubelets) or "factorised" (a spatial
            transformer for each time, then a temporal one over their summaries).
        temporal_layers: of the temporal transformer of the factorised model.
        summary: what speaks for a sequence: "class" (a learned token in front of it) or "mean"
            (of the real tokens).
        output: "sequence" (all tokens, the class token first) or "summary" (one token).
    """

    model: str = "joint"
    temporal_layers: int = 4
    summary: str = "class"
    output: str = "sequence"

    @nn.compact
    def encode(self, x: Array, mask: Array, deterministic: bool) -> Tokens:
        """Tokens [R N D].

        Raises:
            UserError: sizes that do not divide as the attributes say, or a longer clip than at
                initialisation.
        """
        class_token = choose(SUMMARIES, self.summary, "summary")
        backbone = self.backbone(vivit.Vivit, class_token=class_token, pooling=self.summary)
        found = backbone.encode(x, mask, deterministic=deterministic)
        return self.read(found, pooled=not choose(OUTPUTS, self.output, "output"))
