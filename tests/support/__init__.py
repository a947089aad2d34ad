"""What the protocol tests share: seeded entropy, cohorts, an in-memory network, and adversaries."""
