"""The census: every floating-point parameter of every plugin, and whether its derivative can be trusted."""
