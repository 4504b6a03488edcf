"""Fast forms of layers on a CPU, each beside its plain reference, behind one switch: `use`."""

from mmjax.nn.kernels.switch import use as use
