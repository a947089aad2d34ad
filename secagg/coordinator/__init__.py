"""The coordinator: it collects masked inputs, opens sums, and remembers everything it acknowledged."""
