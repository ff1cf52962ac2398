"""WebShop (Yao et al., 2022): a web shop in which a product is searched, read about, configured and bought.

It needs no Java, Lucene, Flask or spaCy. The files of this folder, those that every world has first:

=================== ===========================================================================================
``env``             the Gymnasium environment ``STeP-WebShop-v0``
``engine``          the shop: which page a search or a click leads to, and what a purchase is worth
``tasks``           the goals of a catalogue as tasks: ids, splits, departments, step limit
``oracle``          plans and thoughts from the state of an episode, by either expert
``expert``          an expert that knows only what the pages have said: it searches and reads
``thoughts``        explains an action in one sentence
``prompt``          the instructions for a language model
``download``        downloads the official files, checks them, and imports them
``shop/``           what a visitor meets: pages, instructions, the reward, the state of a visit
``catalogue/``      products and goals on disk, generated or imported, and the search over them
``planning/``       plans a purchase with full marks
``site/``           a running original site behind the same contract (``backend="http"``)
``data/``           words of generated catalogues, and ETO's lists of goals
=================== ===========================================================================================
"""

from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.goals import Goal
from step_envs.webshop.shop.reward import score_purchase

__all__ = ["Catalogue", "Goal", "score_purchase"]
