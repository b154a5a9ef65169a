"""Generation: drawing codes, decoding them to motion, forecasts, timelines, streams."""
