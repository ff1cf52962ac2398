"""A running original WebShop site behind the contract.

========== ====================================================================================================
``env``    ``WebShopSiteEnv``: what ``STeP-WebShop-v0`` is with ``backend="http"``
``shop``   a visit over HTTP, the tasks of a site, and the state of a visit
``page``   reads a page: its texts, and what can be clicked
``oracle`` an oracle without plans: only the site knows what a goal asks for
========== ====================================================================================================
"""
