"""Gust as AWS would run it: under the rights of its roles, within AWS's limits, from what `./gust deploy` uploads."""
