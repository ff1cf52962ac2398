"""Plans in the shop: the search, clicks and choices that lead to a purchase with full marks."""
