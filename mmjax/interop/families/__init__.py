"""The families of published models, each with how to recognise one and how to build it."""

from mmjax.interop.families import ast, clip, dinov2, siglip, vit

FAMILIES = (ast.FAMILY, clip.FAMILY, dinov2.FAMILY, siglip.FAMILY, vit.FAMILY)
