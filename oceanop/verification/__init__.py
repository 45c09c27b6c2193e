"""How a forecast is judged: sums that can be added up in any order, and the scores that follow from them."""
