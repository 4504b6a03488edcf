"""Moved: see `mmjax.nn.layers.conv`."""

from mmjax.nn.layers.conv import Conv as Conv
from mmjax.nn.layers.conv import convolve as convolve
