"""Pictures of attacks, as SVG written by hand: they open anywhere."""

from __future__ import annotations

from secagg import theme

Points = tuple[tuple[float, float], ...]


def shares(points: Points) -> str:
    """Draw shares (0 to 1) over bits as an SVG line."""
    width, height, left = 860, 260, 60
    span = max(x for x, _ in points) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (width - left - 20) * x / span, height - 40 - (height - 60) * y

    placed = [place(x, y) for x, y in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{theme.VERMILION}"><title>{bits:g}: {share:.0%}</title>'
        "</circle>"
        f'<text x="{x:.1f}" y="{height - 22}" text-anchor="middle" fill="#444">{bits:g}</text>'
        for (x, y), (bits, share) in zip(placed, points, strict=True)
    )
    ticks = "".join(
        f'<text x="{left - 8}" y="{place(0, share)[1] + 4:.1f}" text-anchor="end" fill="#444">{share:.0%}</text>'
        for share in (0.0, 0.5, 1.0)
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="share of examples found, by bits" font-size="12" '
        f'font-family="Helvetica, Arial"><polyline points="{line}" fill="none" stroke="{theme.VERMILION}" '
        f'stroke-width="2"/>{dots}{ticks}<text x="{left}" y="{height - 4}" fill="#444">bits of one coordinate</text>'
        "</svg>"
    )


def bounds(points: Points) -> str:
    """Draw lower bounds on epsilon over the claims that they test: above the diagonal a claim is false."""
    size, left = 400, 60
    most = max(*(max(point) for point in points), 1e-9) * 1.05

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (size - left - 20) * x / most, size - 50 - (size - 70) * y / most

    (x0, y0), (x1, y1) = place(0, 0), place(most, most)
    parts = [
        f'<polygon points="{x0:.1f},{y0:.1f} {x0:.1f},{y1:.1f} {x1:.1f},{y1:.1f}" fill="{theme.VERMILION}" '
        'fill-opacity="0.08"/>',
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{theme.VERMILION}" '
        'stroke-width="2" stroke-dasharray="7 5"/>',
        f'<text x="{x0 + 12:.1f}" y="{y1 + 20:.1f}" fill="{theme.VERMILION}">above: the claim is false</text>',
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y0:.1f}" stroke="#444"/>',
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x0:.1f}" y2="{y1:.1f}" stroke="#444"/>',
    ]
    for claim, bound in points:
        x, y = place(claim, bound)
        colour = theme.VERMILION if bound > claim else theme.BLUE
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"><title>claimed {claim:.3g}, at least {bound:.3g}'
            "</title></circle>"
        )
    for tick in (0.0, most / 2, most):
        (x, y), (_, level) = place(tick, 0), place(0, tick)
        parts.append(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle" fill="#444">{tick:.2g}</text>')
        parts.append(f'<text x="{left - 8}" y="{level + 4:.1f}" text-anchor="end" fill="#444">{tick:.2g}</text>')
    parts.append(f'<text x="{left}" y="{size - 8}" fill="#444">claimed epsilon; up: lower bound</text>')
    return (
        f'<svg viewBox="0 0 {size} {size}" style="max-width: 30rem" role="img" '
        f'aria-label="lower bound on epsilon over the claim" font-size="13" font-family="Helvetica, Arial">'
        f"{''.join(parts)}</svg>"
    )
