"""Do two inputs of an example belong together? What is asked of them both, fused."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.negatives import hard_negatives
from mmjax.types import Tokens


class Matcher(nn.Module):
    """A fusion of the tokens, and one logit: that of "match".

    As the matching head of ALBEF (Li et al. 2021, https://arxiv.org/abs/2107.07651), which has two
    logits; theirs of match less that of no match is this one.

    Attributes:
        fusion: (tokens by modality, *, deterministic) -> Fused.
        dtype: type of the computation.
    """

    fusion: nn.Module
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Mapping[str, Tokens], *, deterministic: bool = True
    ) -> Float[Array, " B"]:
        """Returns float32; raises what the fusion raises."""
        pooled = self.fusion(tokens, deterministic=deterministic).pooled
        return Dense(1, dtype=self.dtype, name="match")(pooled)[:, 0].astype(jnp.float32)


def match_pairs(
    matcher: Callable[..., Float[Array, " B"]],
    tokens: Mapping[str, Tokens],
    embeddings: Mapping[str, Float[Array, "B E"]],
    contents: Mapping[str, Int[Array, " B"] | None],
    *,
    temperature: Float[Array, ""],
    key: PRNGKeyArray | None,
    deterministic: bool,
) -> dict[str, Array]:
    """Scores of the pairs of each example, and of hard negatives from the same batch.

    For each two modalities A and B in the order of their names, each row has its own pair, its A
    with another row's B, and another row's A with its B. The fusion sees the other modalities as
    absent. Others are drawn by the similarity of their embeddings, which takes no gradient.

    Args:
        matcher: (tokens, *, deterministic) -> logits [B].
        tokens, embeddings: by modality; embeddings have length one, and zeros where absent.
        contents: by modality, numbers [B]: rows of the same number have the same content, and are
            never each other's negatives. None: all differ.
        temperature: similarities are divided by it.
        key: to draw by; None takes the most similar.
        deterministic: for the matcher.

    Returns:
        match/A-B: [B], the logit of the example's own pair; match/A-B_mask: [B], whether it has
            both
        matching/scores: [B P], P = 3 for each two modalities; matching/targets: bool [B P],
            whether they match; matching/pairs: bool [B P], whether there is such a pair;
            matching/scores_mask: [B], whether there is any
        Nothing for a single modality. Where no negative can be drawn, the row's own pair stands in
        its place, as a match.
    """
    outputs: dict[str, Array] = {}
    scores, targets, pairs = [], [], []
    for place, (a, b) in enumerate(itertools.combinations(sorted(tokens), 2)):
        there = jnp.any(tokens[a].mask, axis=1) & jnp.any(tokens[b].mask, axis=1)
        alone = {name: t if name in (a, b) else absent(t) for name, t in tokens.items()}
        own = matcher(alone, deterministic=deterministic)
        similar = jax.lax.stop_gradient(embeddings[a] @ embeddings[b].T / temperature)
        right = same_rows(contents[a], contents[b], there.shape[0])
        keys = [None, None] if key is None else jax.random.split(jax.random.fold_in(key, place))
        other_b, is_b = hard_negatives(keys[0], similar, mask=there, positives=right)
        other_a, is_a = hard_negatives(keys[1], similar.T, mask=there, positives=right.T)

        same = jnp.arange(there.shape[0])
        taken = {a: jnp.concatenate([same, other_a]), b: jnp.concatenate([other_b, same])}
        both = jnp.concatenate([same, same])
        negatives = {
            name: Tokens(t.x[taken.get(name, both)], t.mask[taken.get(name, both)])
            for name, t in alone.items()
        }
        judged = matcher(negatives, deterministic=deterministic)
        outputs |= {f"match/{a}-{b}": own, f"match/{a}-{b}_mask": there}
        scores += [own, *jnp.split(judged, 2)]
        targets += [jnp.ones_like(there), ~is_b, ~is_a]
        pairs += [there] * 3
    if scores:
        outputs["matching/scores"] = jnp.stack(scores, axis=1)
        outputs["matching/targets"] = jnp.stack(targets, axis=1)
        outputs["matching/pairs"] = jnp.stack(pairs, axis=1)
        outputs["matching/scores_mask"] = jnp.any(outputs["matching/pairs"], axis=1)
    return outputs


def absent(tokens: Tokens) -> Tokens:
    """The same tokens, none of them real."""
    return Tokens(tokens.x, jnp.zeros_like(tokens.mask))


def same_rows(
    a: Int[Array, " B"] | None, b: Int[Array, " B"] | None, rows: int
) -> Bool[Array, "B B"]:
    """Which rows share the content of either; each shares its own."""
    right = jnp.eye(rows, dtype=bool)
    for numbers in (a, b):
        if numbers is not None:
            right |= numbers[:, None] == numbers
    return right
