"""What the benchmarks share; none of it is run by itself."""
