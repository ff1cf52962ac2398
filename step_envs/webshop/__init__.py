"""WebShop (Yao et al., 2022): a shop to search, read and buy in, without Java, Lucene, Flask or spaCy."""

from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.goals import Goal
from step_envs.webshop.shop.reward import score_purchase

__all__ = ["Catalogue", "Goal", "score_purchase"]
