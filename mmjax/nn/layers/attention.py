"""Scaled dot-product attention (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mmjax.errors import UserError
from mmjax.nn.kernels.attend import attend, attend_by_head
from mmjax.nn.kernels.switch import dispatch
from mmjax.nn.layers.dense import Dense
from mmjax.nn.layers.dot_product import dot_product
from mmjax.nn.layers.rotary import rotate

LONG = 2**16  # scores of a head, from which none are kept for the backward pass


class CacheIndex(NamedTuple):
    """position: where a token goes in a KV cache of N positions; read: which of them it reads."""

    position: Int[Array, ""]
    read: Bool[Array, "B N"]


def attention(
    q: Float[Array, "B H Q K"],
    k: Float[Array, "B H N K"],
    v: Float[Array, "B H N K"],
    mask: Bool[Array, "B N"] | None = None,
    drop: Callable[[Array], Array] | None = None,
    *,
    causal: bool = False,
    bias: Float[Array, "b H Q N"] | None = None,
) -> Float[Array, "B H Q K"]:
    """softmax(q k^T / sqrt(K) + bias) v, with Q queries and N keys; heads before tokens.

    Without dropout of weights, long sequences (Q N of at least `LONG`) keep no scores for the
    backward pass. A program for an NVIDIA GPU, made where there is one, runs cuDNN's fused kernel
    in bfloat16 and float16, if the head width K is one that it has.

    Args:
        q, k, v: queries, keys and values. Masked keys and values may hold anything finite.
        mask: True for the real keys. None: all are real.
        drop: dropout for the attention weights [B H Q N]. None: no dropout.
        causal: query i attends to the keys 0 to i only.
        bias: added to the scores, such as one for relative places; b is B or 1.

    Returns:
        [B H Q K] in the type of `v`, with a softmax in float32. A masked key weighs exactly zero;
        a query without a real key gives exactly zero.
    """
    allowed = allowed_keys(mask, q.shape[2], k.shape[2], causal=causal)
    if drop is not None:
        return dot_product(q, k, v, allowed, bias, drop)
    plain, fast = dot_product, {"cpu": attend}
    if q.shape[2] * k.shape[2] >= LONG:
        plain, fast = jax.checkpoint(dot_product), {"cpu": attend_by_head}
    if _fits_cudnn(v) and _has_cuda():
        fast["cuda"] = _cudnn
    return dispatch(q, k, v, allowed, bias, default=plain, **fast)


def allowed_keys(
    mask: Bool[Array, "B N"] | None, queries: int, keys: int, *, causal: bool
) -> Bool[Array, "b 1 q N"] | None:
    """Which keys each query may attend to; None if to all. b is B or 1, q is Q or 1.

    With causal=True and mask [[True, True, False]]:

        [[True, False, False],
         [True, True,  False],
         [True, True,  False]]
    """
    allowed = None if mask is None else mask[:, None, None, :]
    if causal:
        earlier = jnp.tri(queries, keys, dtype=bool)[None, None]
        allowed = earlier if allowed is None else allowed & earlier
    return allowed


def _fits_cudnn(v):
    size = v.shape[-1]
    return v.dtype in (jnp.bfloat16, jnp.float16) and size % 8 == 0 and size <= 128


def _has_cuda() -> bool:
    """Whether JAX can ask cuDNN for its version, as it does when it traces a call of it."""
    try:
        return bool(jax.local_devices(backend="cuda"))
    except RuntimeError:
        return False


def _cudnn(q, k, v, allowed, bias):
    batch, _, queries, _ = q.shape
    keys = k.shape[2]
    odd = (queries % 2, keys % 2)
    if allowed is None and any(odd):
        allowed = jnp.ones((1, 1, 1, keys), bool)
    if allowed is not None:
        allowed = jnp.broadcast_to(allowed, (batch, 1, queries, keys))
    if any(odd):
        # cuDNN's backward pass refuses odd numbers of tokens: one more, that none reads.
        q, k, v, allowed = (
            jnp.pad(x, ((0, 0), (0, 0), (0, rows), (0, columns)))
            for x, rows, columns in (
                (q, odd[0], 0),
                (k, odd[1], 0),
                (v, odd[1], 0),
                (allowed, *odd),
            )
        )
        if bias is not None:
            bias = jnp.pad(bias, ((0, 0), (0, 0), (0, odd[0]), (0, odd[1])))
    tokens_first = [jnp.swapaxes(x, 1, 2) for x in (q, k, v)]
    if bias is not None:
        bias = bias.astype(v.dtype)
    y = jax.nn.dot_product_attention(*tokens_first, bias=bias, mask=allowed, implementation="cudnn")
    y = jnp.swapaxes(y, 1, 2)
    if allowed is not None:
        # cuDNN spreads a query without a real key evenly over the masked ones.
        y = jnp.where(jnp.any(allowed, axis=3)[..., None], y, jnp.zeros((), y.dtype))
    return y[:, :, :queries]


def split_heads(x: Float[Array, "B N D"], heads: int) -> Float[Array, "B H N K"]:
    """Cuts the width into heads, and puts them before the tokens."""
    batch, length, width = x.shape
    return jnp.swapaxes(x.reshape(batch, length, heads, width // heads), 1, 2)


def split_projections(
    x: Float[Array, "B N W"], count: int, heads: int
) -> list[Float[Array, "B H N K"]]:
    """Cuts what one layer projects to, such as queries, keys and values, into them and heads."""
    batch, length, width = x.shape
    x = x.reshape(batch, length, count, heads, width // (count * heads))
    # By `split`, the gradient is put together; by slices, sums of padded ones would be. In the
    # order of `x`, that takes a CPU half the time.
    return [jnp.swapaxes(part[:, :, 0], 1, 2) for part in jnp.split(x, count, axis=2)]


def merge_heads(x: Float[Array, "B H N K"]) -> Float[Array, "B N D"]:
    """The inverse of `split_heads`."""
    batch, heads, length, size = x.shape
    return jnp.swapaxes(x, 1, 2).reshape(batch, length, heads * size)


def _check_heads(path: tuple[str, ...], width: int, heads: int) -> None:
    if heads < 1 or width % heads:
        raise UserError(
            f"{'/'.join(path)}: width {width} does not split into {heads} heads:"
            " choose heads that divide width"
        )


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused projection to queries, keys and values.

    Attributes:
        heads: number of heads; it divides the width of the input.
        dropout: share of the attention weights dropped (rng collection "dropout").
        dtype: type of the computation; the softmax is in float32.
        causal: token i attends to the tokens 0 to i only.
        use_bias: whether the fused projection has a bias.
    """

    heads: int
    dropout: float = 0.0
    dtype: Any = jnp.float32
    causal: bool = False
    use_bias: bool = True

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B N D"],
        mask: Bool[Array, "B N"] | None = None,
        *,
        angles: Float[Array, "N k"] | None = None,
        cache: CacheIndex | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B N D"]:
        """Each token reads the real ones.

        Args:
            x, mask: the tokens, and which are real.
            angles: rotate queries and keys (see mmjax.nn.layers.rotary). None: no rotation.
            cache: where the only token of x goes in the KV cache, variables of the collection
                "cache", which must be mutable: keys and values of the tokens before it are there.
                It takes the place of `mask`. None: there is no cache.
            deterministic: False in training.
        """
        width = x.shape[-1]
        _check_heads(self.path, width, self.heads)
        qkv = Dense(3 * width, self.use_bias, dtype=self.dtype, name="qkv")(x)
        q, k, v = split_projections(qkv, 3, self.heads)
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        if cache is not None:
            mask = cache.read
            k, v = self._cached("keys", k, cache), self._cached("values", v, cache)
        drop = None
        if self.dropout and not deterministic:
            drop = nn.Dropout(self.dropout, deterministic=False)
        y = attention(q, k, v, mask, drop, causal=self.causal and cache is None)
        return Dense(width, dtype=self.dtype, name="out")(merge_heads(y))

    def _cached(
        self, name: str, x: Float[Array, "B H 1 K"], cache: CacheIndex
    ) -> Float[Array, "B H N K"]:
        """What is cached, with x at its position; zeros where nothing was yet."""
        shape = (*x.shape[:2], cache.read.shape[1], x.shape[3])
        kept = self.variable("cache", name, jnp.zeros, shape, x.dtype)
        kept.value = jax.lax.dynamic_update_slice(kept.value, x, (0, 0, cache.position, 0))
        return kept.value


class CrossAttention(nn.Module):
    """Multi-head attention from one sequence to another.

    Attributes:
        heads: number of heads; it divides the width of the queries.
        dropout: share of the attention weights dropped (rng collection "dropout").
        dtype: type of the computation; the softmax is in float32.
        use_bias: whether the projections to queries, keys and values have biases.
    """

    heads: int
    dropout: float = 0.0
    dtype: Any = jnp.float32
    use_bias: bool = True

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B Q D"],
        context: Float[Array, "B N C"],
        mask: Bool[Array, "B N"] | None = None,
        *,
        cached: bool = False,
        deterministic: bool = True,
    ) -> Float[Array, "B Q D"]:
        """Each query of `x` reads the real tokens of `context`, of any width; `mask` is theirs.

        A row whose context has no real token gets the bias of the last projection alone. With
        `cached`, the keys and values of the context are computed once and kept in the KV cache
        (collection "cache", which must be mutable).
        """
        width = x.shape[-1]
        _check_heads(self.path, width, self.heads)
        q = Dense(width, self.use_bias, dtype=self.dtype, name="q")(x)

        def project() -> Array:
            return Dense(2 * width, self.use_bias, dtype=self.dtype, name="kv")(context)

        kv = self.variable("cache", "context", project).value if cached else project()
        q, (k, v) = split_heads(q, self.heads), split_projections(kv, 2, self.heads)
        drop = None
        if self.dropout and not deterministic:
            drop = nn.Dropout(self.dropout, deterministic=False)
        y = attention(q, k, v, mask, drop)
        return Dense(width, dtype=self.dtype, name="out")(merge_heads(y))
