"""Sea floors of real basins that ship with the package, and the script that cut them."""
