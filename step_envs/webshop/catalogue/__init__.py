"""What the shop sells: products and goals on disk, and the search over them.

==================== ==========================================================================================
``catalogue``        an opened catalogue: products, goals, prices, search
``products``         one product, made from a record of the official files
``goals``            shopping instructions in the original's order, and how they are written
``sources``          which catalogue to play in: a named one, or the one that is generated at first use
``generator``        generates products and instructions by seed
``importer``         imports the official files
``json_stream``      reads JSON files larger than memory, one record at a time
``catalogue_writer`` writes a catalogue: all of it, or nothing
``columns``          memory-mapped arrays and lists of texts, of which a catalogue is made
``search``           finds the best fifty products for some words, in Lucene's order
``pruning``          finds the products that can be among them, without scoring all
``postings``         one word of a query: which products have it, and what it adds to their scores
``levels``           for each common word, a byte a product that bounds what it adds
``index_writer``     builds the search index
``analyzer``         turns text into search terms, as Lucene's English analyzer does
``stemmer``          reduces words to their stems
``bm25``             scores terms in Lucene's arithmetic
==================== ==========================================================================================
"""
