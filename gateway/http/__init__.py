"""Answers HTTP requests: reads them, asks `common.lifecycle`, shows what it says."""
