"""The method: networks, class VAEs, the game, the detector."""
