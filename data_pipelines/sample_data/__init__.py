"""Two small real files, and the script that made them."""
