"""What a visitor of the shop meets.

====================== ========================================================================================
``actions``            reads actions: ``search[words]`` and ``click[what]``
``pages``              what each page shows, as text, as text with buttons or as HTML, and what can be clicked
``page_reader``        reads pages as text: which page it is, which products it lists
``instruction_parser`` reads an instruction: the wish, its price limit, the words to search for
``reward``             what a purchase is worth
``noun_tagger``        finds the nouns of a title, which the reward compares
``session_state``      the state of a visit, and how it is saved and checked
====================== ========================================================================================
"""
