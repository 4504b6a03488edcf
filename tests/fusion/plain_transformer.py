"""Transformer blocks in plain numpy, over the real tokens [N D] of one example."""

import numpy as np


def dense(x, params):
    return x @ params["kernel"] + params.get("bias", 0)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def layer_norm(x, params):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * params["scale"] + params["bias"]


def attend(q, k, v, params, heads):
    """Each query's softmax-weighted values, head by head, and the last projection."""
    size = q.shape[1] // heads
    result = np.zeros_like(q)
    for start in range(0, q.shape[1], size):
        part = slice(start, start + size)
        for n in range(len(q)):
            result[n, part] = softmax(k[:, part] @ q[n, part] / np.sqrt(size)) @ v[:, part]
    return dense(result, params["out"])


def block(x, params, heads, *, context=None, post=False, act=gelu):
    """Cross-attention to the context if there is one, else self-attention; then the mlp."""

    def self_attention(y):
        return attend(
            *np.split(dense(y, params["attention"]["qkv"]), 3, -1), params["attention"], heads
        )

    def cross_attention(y):
        keys, values = np.split(dense(context, params["cross"]["kv"]), 2, -1)
        return attend(dense(y, params["cross"]["q"]), keys, values, params["cross"], heads)

    def mlp(y):
        return dense(act(dense(y, params["mlp_in"])), params["mlp_out"])

    first = ("attention", self_attention) if context is None else ("cross", cross_attention)
    for name, branch in (first, ("mlp", mlp)):
        norm = params[f"{name}_norm"]
        x = layer_norm(x + branch(x), norm) if post else x + branch(layer_norm(x, norm))
    return x


def reading_layer(x, params, context, heads, *, post=False, act=gelu):
    """`context` None: nothing to read."""
    if context is not None:
        if not post:
            context = layer_norm(context, params["context_norm"])
        x = block(x, params["cross_block"], heads, context=context, post=post, act=act)
    if "self_block" in params:
        x = block(x, params["self_block"], heads, post=post, act=act)
    return x
