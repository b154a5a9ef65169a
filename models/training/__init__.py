"""Training: one loop, the stages and losses it trains, run folders, EMA, fine-tuning."""
