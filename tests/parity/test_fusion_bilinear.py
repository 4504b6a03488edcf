"""Bilinear and tensor fusions against torch.nn layers; outputs and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.fusion.bilinear.bilinear import BilinearFusion
from mmjax.fusion.bilinear.block import BlockFusion
from mmjax.fusion.bilinear.low_rank import LowRankFusion
from mmjax.fusion.bilinear.mutan import MutanFusion
from mmjax.fusion.bilinear.products import ROOT_OFFSET
from mmjax.fusion.bilinear.tensor import TensorFusion
from mmjax.types import Tokens
from tests.parity.torch_weights import dense_of

torch = pytest.importorskip("torch")

WIDTHS = {"a": 11, "b": 7}
BATCH, OUT, INNER = 9, 5, 12


def form(bilinear):
    """The parameters of a form whose linear terms are zero, as torch.nn.Bilinear has none."""
    kernel = bilinear.weight.detach().permute(1, 2, 0).numpy()
    return {
        "kernel_a": np.zeros((kernel.shape[0], kernel.shape[2])),
        "kernel_b": np.zeros((kernel.shape[1], kernel.shape[2])),
        "kernel_a-b": kernel,
        "bias": bilinear.bias.detach().numpy(),
    }


def bilinear():
    a, b = (torch.nn.Linear(width, INNER) for width in WIDTHS.values())
    pair = torch.nn.Bilinear(INNER, INNER, OUT)
    params = {"project_a": dense_of(a), "project_b": dense_of(b), "form": form(pair)}
    return BilinearFusion(OUT, INNER), params, lambda x, y: pair(a(x), b(y))


def tucker():
    a, b = (torch.nn.Linear(width, INNER) for width in WIDTHS.values())
    pair, out = torch.nn.Bilinear(INNER, INNER, INNER), torch.nn.Linear(INNER, OUT)
    params = {
        "project_a": dense_of(a),
        "project_b": dense_of(b),
        "core": form(pair),
        "out": dense_of(out),
    }
    return (
        MutanFusion(OUT, INNER, None),
        params,
        lambda x, y: out(pair(torch.tanh(a(x)), torch.tanh(b(y)))),
    )


def tensor():
    """A torch.nn.Linear over the flat outer product of [x; 1]."""
    a, b = (torch.nn.Linear(width, 4) for width in WIDTHS.values())
    out = torch.nn.Linear(25, OUT, bias=False)
    kernel = out.weight.detach().numpy().T.reshape(5, 5, OUT)
    subsets = {"kernel_a-b": (slice(4), slice(4)), "kernel_a": (slice(4), 4), "bias": (4, 4)}
    subsets["kernel_b"] = (4, slice(4))
    params = {"project_a": dense_of(a), "project_b": dense_of(b)}
    params["form"] = {name: kernel[place] for name, place in subsets.items()}

    def theirs(x, y):
        one = torch.ones(BATCH, 1)
        left, right = torch.cat([a(x), one], 1), torch.cat([b(y), one], 1)
        return out(torch.bmm(left[:, :, None], right[:, None]).flatten(1))

    return TensorFusion(OUT, 4), params, theirs


def low_rank():
    """A torch.nn.Linear over the ranks of the product of factors [rank, d + 1, D]."""
    factors = {name: torch.randn(3, width + 1, OUT) / 3 for name, width in WIDTHS.items()}
    weights = torch.nn.Linear(3, 1, bias=False)
    bias = torch.randn(OUT)
    layers = {
        f"factor_{name}": {
            "kernel": factor[:, :-1].permute(1, 0, 2).reshape(-1, 3 * OUT).numpy(),
            "bias": factor[:, -1].flatten().numpy(),
        }
        for name, factor in factors.items()
    }
    params = {"products": layers, "rank_weights": weights.weight[0].detach().numpy()}

    def theirs(x, y):
        one = torch.ones(BATCH, 1)
        left, right = (
            torch.matmul(torch.cat([v, one], 1), f)
            for v, f in zip((x, y), factors.values(), strict=True)
        )
        return weights((left * right).permute(1, 2, 0))[..., 0] + bias

    return LowRankFusion(OUT, 3), params | {"bias": bias.numpy()}, theirs


def block():
    """torch.nn.Linear layers for each chunk, and torch's own normalize."""
    chunks, rank = 3, 4
    size = INNER // chunks
    project = [torch.nn.Linear(width, INNER) for width in WIDTHS.values()]
    cores = [[torch.nn.Linear(size, rank * size) for _ in range(chunks)] for _ in WIDTHS]
    out = torch.nn.Linear(INNER, OUT)
    params = {"out": dense_of(out)}
    for name, layer, core in zip(WIDTHS, project, cores, strict=True):
        params[f"project_{name}"] = dense_of(layer)
        params[f"core_{name}"] = np.stack([dense_of(c)["kernel"] for c in core])
        params[f"core_bias_{name}"] = np.stack([dense_of(c)["bias"] for c in core])

    def theirs(x, y):
        left, right = (p(v).split(size, 1) for p, v in zip(project, (x, y), strict=True))
        parts = []
        for c in range(chunks):
            z = (cores[0][c](left[c]) * cores[1][c](right[c])).unflatten(1, (rank, size)).sum(1)
            # The paper's root has no slope at zero; ours is this one, within 1e-4 of it. Close to
            # zero it is so steep that rounding of z decides.
            assert z.abs().min() > 0.01
            root = z / ((z.abs() + ROOT_OFFSET).sqrt() + ROOT_OFFSET**0.5)
            parts.append(torch.nn.functional.normalize(root, dim=1))
        return out(torch.cat(parts, 1))

    return BlockFusion(OUT, INNER, chunks, rank), params, theirs


@pytest.mark.parametrize(
    ("make", "distance"),
    [(bilinear, 1e-5), (tucker, 1e-5), (tensor, 1e-5), (low_rank, 1e-5), (block, 1e-5)],
)
def test_equals_pytorch_with_gradients(make, distance):
    torch.manual_seed(8)
    fusion, params, theirs = make()
    given = [torch.randn(BATCH, width, requires_grad=True) for width in WIDTHS.values()]
    expected = theirs(*given)
    expected.pow(3).sum().backward()

    @jax.jit
    def ours(xs):
        def loss(xs):
            tokens = {
                name: Tokens(x[:, None], jnp.ones((BATCH, 1), bool))
                for name, x in zip(WIDTHS, xs, strict=True)
            }
            pooled = fusion.apply({"params": params}, tokens).pooled
            return (pooled**3).sum(), pooled

        return jax.grad(loss, has_aux=True)(xs)

    gradients, pooled = ours([jnp.asarray(x.detach().numpy()) for x in given])
    np.testing.assert_allclose(pooled, expected.detach().numpy(), atol=distance)
    for gradient, x in zip(gradients, given, strict=True):
        scale = np.abs(x.grad.numpy()).max()
        np.testing.assert_allclose(gradient / scale, x.grad.numpy() / scale, atol=10 * distance)
