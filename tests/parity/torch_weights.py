"""From the weights of PyTorch modules to our parameters."""

import numpy as np


def random_state(torch, module, seed=0):
    """Draws every parameter, biases and norms included, and returns them as numpy arrays."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            centre = float(parameter.ndim == 1 and name.endswith("weight"))  # scales of norms
            parameter.normal_(centre, 0.3, generator=generator)
    return {name: p.detach().numpy() for name, p in module.state_dict().items()}


def dense(state, *names):
    """One dense layer from one or several linear ones side by side."""
    kernel = np.concatenate([state[f"{name}.weight"].T for name in names], axis=1)
    return {"kernel": kernel, "bias": np.concatenate([state[f"{name}.bias"] for name in names])}


def norm(state, name):
    """A layer norm."""
    return {"scale": state[f"{name}.weight"], "bias": state[f"{name}.bias"]}


def dense_of(*layers):
    """The same from the modules."""
    kernels = [layer.weight.detach().numpy().T for layer in layers]
    biases = [layer.bias.detach().numpy() for layer in layers]
    return {"kernel": np.concatenate(kernels, axis=1), "bias": np.concatenate(biases)}


def norm_of(layer):
    """A layer norm from the module."""
    return {"scale": layer.weight.detach().numpy(), "bias": layer.bias.detach().numpy()}


def fused(state, name):
    """The fused projections of torch.nn.MultiheadAttention: [q, k, v], each a dense layer."""
    kernels = np.split(state[f"{name}.in_proj_weight"].T, 3, axis=1)
    biases = np.split(state[f"{name}.in_proj_bias"], 3)
    return [{"kernel": k, "bias": b} for k, b in zip(kernels, biases, strict=True)]
