# SPDX-License-Identifier: Apache-2.0
"""What all pictures have in common."""

from __future__ import annotations

import io
import pathlib

import matplotlib

matplotlib.use("Agg")  # no display is needed
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

# two that are told apart without red and green, one for what is beside the point, one for text
OURS, SECOND, OTHERS, INK = "#1f6f8b", "#d55e00", "#b8b8b8", "#444444"
SMALL = 8


def plain(axis: Axes) -> None:
    """Small numbers, and no frame but the two axes."""
    axis.tick_params(labelsize=SMALL)
    axis.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: pathlib.Path) -> None:
    """Write a picture, small enough for a repository; 9 inches become 1080 pixels."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=120)
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(128).save(path, optimize=True)
