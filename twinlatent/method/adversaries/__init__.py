"""The adversary's turn of the game: what it can be."""
