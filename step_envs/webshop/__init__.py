"""WebShop (Yao et al., 2022): a shop to search, read and buy in, without Java, Lucene, Flask or spaCy."""
