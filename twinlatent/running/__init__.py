"""Long work in pieces: one unit after the other here, by worker processes, or as a shard on another machine."""
