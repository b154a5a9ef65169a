"""From sentences to timelines of labels: phrases of labels, how they are ranked, how a sentence is read."""
