"""Answers HTTP requests: reads them into values, acts through `common.lifecycle`, shows the result."""
