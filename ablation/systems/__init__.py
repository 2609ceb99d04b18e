"""Kinds of networks that the paper is held against, each a family: `ablation.systems.vgg:vgg` (docs/systems.md).

A family's own file is light: it holds knobs and a closed form, and imports torch inside the function that builds.
"""
