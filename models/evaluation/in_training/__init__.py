"""A network while it trains: cheap figures and motions to look at, at every validation."""
