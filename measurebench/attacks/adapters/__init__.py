"""Attacks of other libraries by name: ``torchattacks:PGD``, ``foolbox:LinfDeepFoolAttack``, ``art:DeepFool``."""
