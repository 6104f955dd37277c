"""The rivals: plain, independent versions of what the benchmarks measure."""
