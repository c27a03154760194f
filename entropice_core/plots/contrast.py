"""Whether words can be read on what is behind them: contrast as WCAG 2.2 measures it, 4.5 or more for small words."""

from matplotlib.colors import to_rgb

ENOUGH = 4.5
"""Least contrast of words that are small (WCAG 2.2, success criterion 1.4.3, level AA)."""


def contrast(ink: object, ground: object = "white") -> float:
    """Give the contrast of two colours, 1 to 21, whichever is the lighter.

    >>> contrast("black"), round(contrast("#777777"), 2)
    (21.0, 4.48)
    """
    dark, light = sorted((_luminance(ink), _luminance(ground)))
    return (light + 0.05) / (dark + 0.05)


def blend(ink: object, share: float, ground: object = "white") -> tuple[float, ...]:
    """Lay a colour over another one: ``share`` of the first is seen."""
    return tuple(share * a + (1 - share) * b for a, b in zip(to_rgb(ink), to_rgb(ground), strict=True))  # type: ignore[arg-type]


def ink_on(ground: object) -> str:
    """Choose black or white, whichever is easier to read on a colour; the contrast is always 4.58 or more.

    >>> ink_on("#ffe9a0"), ink_on("#440154")
    ('black', 'white')
    """
    return max(("black", "white"), key=lambda ink: contrast(ink, ground))


def _luminance(colour: object) -> float:
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)]  # type: ignore[arg-type]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
