"""DP-SGD across hospitals on top of Opacus: its per-row gradients, one secure round a step."""
