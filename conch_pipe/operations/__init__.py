"""What conch-pipe can do, for whoever asks: commands, the operations API and the dashboard call the same functions.

One module per aggregate, where the catalog's own does not say it all; together.py has them all. Nothing here prints,
asks or knows HTTP; what is wrong is a PipeError, several things at once are Mistakes. Heavy imports are made where they
are needed: each command begins with some of these modules.
"""
