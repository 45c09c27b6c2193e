"""The numerical ocean: long waves and storm surges in a basin, and the weather that drives them."""
