"""A running original WebShop site as the shop (``backend="http"``)."""
