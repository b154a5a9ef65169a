"""Generation: sampling codes, decoding them to motion, forecasts, timelines, streams."""
