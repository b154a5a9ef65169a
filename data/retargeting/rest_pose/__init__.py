"""How the joints of a recording stand at rest."""
